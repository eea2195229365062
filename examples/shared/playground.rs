//! A shell in which akv-init finds the stand-in, for a user who wants to try things out.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::{env, thread};

use anyhow::{Context, Result};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::azure::Azure;

#[path = "binary.rs"]
mod binary;

/// The secrets that there are, if the command line names none.
pub const SECRETS: [(&str, &str); 2] = [
    ("db-password", "correct horse battery staple"),
    ("db", r#"{"user": "app", "password": "tr0ub4dor"}"#),
];

/// What the user is shown. Each command starts in column 3, and a test runs them one after the other.
const GREETING: &str = "\
In this shell there is a vault with two secrets, `db-password` and `db` (JSON),
and a managed identity that may read them. Both are a stand-in on this machine:
nothing goes to Azure. DB_PASSWORD is akv:///db-password, a reference to the
default vault. The command `standin` changes what the stand-in does. Try:

  akv-init check -- printenv DB_PASSWORD
      every step that `exec` depends on, and which of them fails
  akv-init exec -- printenv DB_PASSWORD
      printenv is started with the secret; echo $DB_PASSWORD still shows the reference
  akv-init exec --secret 'DB_USER=akv:///db#/user' -- printenv DB_USER
      a field of a secret that is JSON
  akv-init write --from-env --output dotenv:app.env \"$SECRETS\"; ls -l \"$SECRETS\"
      the secret in a file instead of a variable; a warning, if $SECRETS is on disk
  standin close vault; akv-init exec --timeout 7s -- true; standin open vault
      the vault is down: akv-init waits, says so, and ends with 69
  standin deny db-password; akv-init exec -- printenv DB_PASSWORD
      the role is missing: 77, at once, with a hint that names the role and the scope
  (sleep 7; standin restore) & akv-init exec --wait-for-access 1m -- printenv DB_PASSWORD
      the role arrives while akv-init waits for it
  standin delete db-password; akv-init check; standin restore
      the secret is gone; `restore` brings everything back

`exit` ends the shell and the stand-in.
";

/// Sends its arguments to the stand-in, and waits until that has done it.
const STANDIN: &str = "\
#!/bin/sh
printf '%s\\n' \"$*\" >\"$STANDIN_DIR/commands\" && cat \"$STANDIN_DIR/replies\"
";

/// Runs the user's shell until it ends. `obey` does what a line such as `close vault` says.
pub fn run(
    azure: &Azure,
    obey: impl Fn(&str) -> Result<()> + Send + 'static,
) -> Result<ExitStatus> {
    writeln!(io::stdout(), "building akv-init …")?;
    let akv_init = binary::build()?;
    let dir = azure.dir();
    let bin = dir.join("bin");
    let secrets = dir.join("secrets");
    fs::create_dir(&bin)?;
    fs::create_dir(&secrets)?;
    fs::write(bin.join("standin"), STANDIN)?;
    fs::set_permissions(bin.join("standin"), Permissions::from_mode(0o755))?;
    std::os::unix::fs::symlink(akv_init, bin.join("akv-init"))?;
    for name in ["commands", "replies"] {
        mkfifo(&dir.join(name), Mode::S_IRWXU)?;
    }
    let pipes = dir.to_owned();
    thread::spawn(move || {
        // The directory is gone when the stand-in ends.
        while serve(&pipes, &obey).is_ok() {}
    });

    write!(io::stdout(), "{GREETING}").context("writing to standard output")?;
    let shell = env::var_os("SHELL").unwrap_or_else(|| OsString::from("/bin/sh"));
    let mut command = Command::new(&shell);
    let settings = [
        "AKV_INIT_",
        "AZURE_",
        "IDENTITY_",
        "MSI_",
        "SSL_CERT_",
        "HTTPS_PROXY",
        "https_proxy",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if settings.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .env("STANDIN_DIR", dir)
        .env("SECRETS", secrets)
        .env("DB_PASSWORD", "akv:///db-password")
        .env("AKV_INIT_VAULT", azure.vault())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("AKV_INIT_CA_FILE", azure.ca_file())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds());
    let started = command.status();
    started.with_context(|| format!("starting {}", shell.display()))
}

/// Obeys the next command of the shell.
fn serve(dir: &Path, obey: &impl Fn(&str) -> Result<()>) -> io::Result<()> {
    let commands = OpenOptions::new().read(true).open(dir.join("commands"))?;
    for line in BufReader::new(commands).lines() {
        let reply = match obey(&line?) {
            Ok(()) => String::new(),
            Err(error) => format!("standin: {error:#}\n"),
        };
        fs::write(dir.join("replies"), reply)?;
    }
    Ok(())
}

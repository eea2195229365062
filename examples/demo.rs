//! A first look at akv-init: `cargo run --example demo`.
//!
//! Builds the real binary, starts a stand-in for Azure on loopback, and runs akv-init with nothing in its environment
//! but what is printed. Every claim that it prints was checked before it was printed; if one does not hold, the demo
//! ends with that instead.

#[path = "../tests/azure/mod.rs"]
mod azure;
#[path = "shared/binary.rs"]
mod binary;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use azure::{Azure, Endpoint, Response};

const SECRET: &str = "correct horse battery staple";
const REFERENCE: &str = "akv://prod-kv/sql-sa";
const SCRIPT: &str = r#"echo "I am process $$, and my DB_PASSWORD is: $DB_PASSWORD""#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    say("building akv-init …")?;
    let binary = binary::build()?;
    let azure = Azure::start();
    azure.secret("sql-sa", SECRET);
    let demo = Demo { binary, azure };
    say("a stand-in for Azure runs on loopback: an identity endpoint, and a vault over TLS")?;

    say("\n1. exec: a process receives its secret.")?;
    let command = ["exec", "--", "/bin/sh", "-c", SCRIPT];
    let run = demo.run(&command, 0)?;
    ensure!(
        run.stdout
            == format!(
                "I am process {}, and my DB_PASSWORD is: {SECRET}\n",
                run.pid
            ),
        "the process said {:?}",
        run.stdout
    );
    ensure!(run.stderr.is_empty(), "it was not silent: {}", run.stderr);
    say(&quoted(&run.stdout))?;
    say("   The same process that akv-init was: it has become its command.")?;
    demo.show_wire()?;

    say("\n2. exec: the identity may not read the vault.")?;
    demo.azure.always(Endpoint::Vault, Response::rbac());
    let run = demo.run(&command, 77)?;
    ensure!(
        run.stdout.is_empty(),
        "the command was started without its secret: {:?}",
        run.stdout
    );
    ensure!(
        run.stderr.contains("ForbiddenByRbac") && run.stderr.contains("hint: "),
        "no hint in what it said:\n{}",
        run.stderr
    );
    say(&quoted(&run.stderr))?;
    say("   Exit code 77: access denied. The command was not started.")?;

    say("\n3. check: which step fails. It tests every step, and starts nothing.")?;
    let run = demo.run(&["check", "--", "/bin/sh"], 77)?;
    let failed: Vec<&str> = run
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("FAILED"))
        .collect();
    ensure!(failed.len() >= 3, "no step failed:\n{}", run.stdout);
    say("   | … (what comes before it is well)")?;
    say(&quoted(&failed.join("\n")))?;

    say("\n4. write: the role is there, and the secret becomes a file.")?;
    demo.azure.clear(Endpoint::Vault);
    let dir = demo.azure.dir().join("secrets");
    fs::create_dir(&dir)?;
    let run = demo.run(&["write", "--from-env", &dir.to_string_lossy()], 0)?;
    let value = fs::read_to_string(dir.join("DB_PASSWORD"))?;
    ensure!(value == SECRET, "the file holds something else");
    say(&quoted(&run.stderr))?;
    say(
        "   The file DB_PASSWORD holds the secret, byte for byte. A pod has a volume in memory for it.",
    )?;

    say("\nThe log showed neither a token nor the secret: that was checked, too.")?;
    say("To try it yourself: cargo run --example standin -- --shell")
}

struct Demo {
    binary: PathBuf,
    azure: Azure,
}

struct Run {
    pid: u32,
    stdout: String,
    stderr: String,
}

impl Demo {
    /// Runs akv-init, which has to end with this code.
    fn run(&self, arguments: &[&str], code: i32) -> Result<Run> {
        let azure = &self.azure;
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        // The first is what a manifest would say. The others lead to the stand-in what would go to Azure.
        command.env_clear();
        command.env("DB_PASSWORD", REFERENCE);
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds());
        command.env("HTTPS_PROXY", azure.proxy());
        command.env("AKV_INIT_CA_FILE", azure.ca_file());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown: Vec<String> = arguments.iter().map(|word| in_shell(word)).collect();
        say(&format!(
            "   $ DB_PASSWORD={REFERENCE} akv-init {}",
            shown.join(" ")
        ))?;
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let pid = child.id();
        let output = child.wait_with_output()?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code),
            "akv-init ended with {}, not {code}:\n{stdout}{stderr}",
            output.status
        );
        let tokens = azure.tokens();
        let mut secrets = tokens.iter().map(String::as_str).chain([SECRET]);
        ensure!(
            !secrets.any(|secret| stderr.contains(secret)),
            "the log shows a token or the secret"
        );
        Ok(Run {
            pid,
            stdout,
            stderr,
        })
    }

    /// Shows the requests so far.
    fn show_wire(&self) -> Result<()> {
        let count = |endpoint| self.azure.requests_at(endpoint).len();
        ensure!(
            (count(Endpoint::Imds), count(Endpoint::Vault)) == (1, 1),
            "one token and one secret were to be asked for"
        );
        say("   What went over the wire:")?;
        for request in self.azure.requests() {
            let about = match (request.endpoint, &request.tls) {
                (Endpoint::Imds, _) => {
                    "identity endpoint, which is on the machine: plain http, answered with a token"
                }
                (Endpoint::Proxy, _) => "the proxy leads the vault's real name to the stand-in",
                (_, Some(version)) if request.bearer().is_some() => {
                    &format!("{version}, carries the token")
                }
                _ => anyhow::bail!(
                    "{} {} went out in the clear",
                    request.method,
                    request.target
                ),
            };
            let host = if request.method == "CONNECT" {
                ""
            } else {
                &request.host
            };
            say(&format!(
                "     {} {host}{}  ({about})",
                request.method,
                request.path()
            ))?;
        }
        Ok(())
    }
}

/// A word as it is typed in a shell.
fn in_shell(word: &str) -> String {
    match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("   | {line}")).collect();
    lines.join("\n")
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("writing to standard output")
}

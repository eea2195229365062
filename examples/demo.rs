//! A first look at akv-init: one process gets its secret, another fails with a hint. `cargo run --example demo`.
//!
//! Builds the real binary, starts a stand-in for Azure on loopback, and runs `akv-init exec` twice with nothing in its
//! environment but what is printed: once the process receives its secret, once the vault refuses it and the hint says
//! why. Then it shows what went over the wire. Every claim that it prints was checked before it was printed; if one
//! does not hold, the demo ends with that instead.

#[path = "../tests/azure/mod.rs"]
mod azure;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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
    let binary = build()?;
    let azure = Azure::start();
    azure.secret("sql-sa", SECRET);
    say("a stand-in for Azure runs on loopback: an identity endpoint, and a vault over TLS\n")?;

    say("1. A process receives its secret.")?;
    let run = exec(&binary, &azure)?;
    let expected = format!(
        "I am process {}, and my DB_PASSWORD is: {SECRET}\n",
        run.pid
    );
    ensure!(
        run.output.status.success(),
        "akv-init ended with {}:\n{}",
        run.output.status,
        run.stderr
    );
    ensure!(
        run.stdout == expected,
        "expected {expected:?}, the process said {:?}",
        run.stdout
    );
    ensure!(
        run.stderr.is_empty(),
        "akv-init was not silent: {}",
        run.stderr
    );
    say(&quoted(&run.stdout))?;
    say("   The same process that akv-init was: it has become its command.")?;
    show_wire(&azure, 0)?;

    say("2. The identity may not read the vault.")?;
    let seen = azure.requests().len();
    azure.always(Endpoint::Vault, Response::rbac());
    let run = exec(&binary, &azure)?;
    ensure!(
        run.output.status.code() == Some(77),
        "expected exit code 77, got {}",
        run.output.status
    );
    ensure!(
        run.stdout.is_empty(),
        "the command was started without its secret: {:?}",
        run.stdout
    );
    let tells = |word: &str| run.stderr.contains(word);
    ensure!(
        tells("ForbiddenByRbac") && tells("hint: "),
        "no hint in what it said:\n{}",
        run.stderr
    );
    say(&quoted(&run.stderr))?;
    say("   Exit code 77: access denied. The command was not started.")?;
    show_wire(&azure, seen)?;

    say("akv-init printed neither a token nor the secret: that was looked for, too.")
}

/// Has cargo build the binary, of the profile that this example was built with, and asks it where it is.
fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--bin", "akv-init", "--profile", profile]);
    command.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    // `cargo run` tells us about our package in these; build scripts that look at them would run again each time.
    let about_us =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(about_us)) {
        command.env_remove(name);
    }
    let output = command.output().context("starting cargo")?;
    ensure!(output.status.success(), "akv-init does not build");
    let messages = String::from_utf8(output.stdout).context("reading what cargo built")?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables =
        messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executables
        .next_back()
        .context("cargo did not say where the binary is")
}

struct Run {
    pid: u32,
    output: Output,
    stdout: String,
    stderr: String,
}

fn exec(binary: &Path, azure: &Azure) -> Result<Run> {
    let mut command = Command::new(binary);
    command.args(["exec", "--", "/bin/sh", "-c", SCRIPT]);
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
    say(&format!(
        "   $ DB_PASSWORD={REFERENCE} akv-init exec -- /bin/sh -c '{SCRIPT}'"
    ))?;
    let child = command
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = azure
        .tokens()
        .iter()
        .any(|token| stdout.contains(token) || stderr.contains(token));
    ensure!(
        !told && !stderr.contains(SECRET),
        "akv-init printed a token or the secret"
    );
    Ok(Run {
        pid,
        output,
        stdout,
        stderr,
    })
}

fn show_wire(azure: &Azure, from: usize) -> Result<()> {
    let requests = azure.requests().split_off(from);
    let count = |endpoint| {
        requests
            .iter()
            .filter(|request| request.endpoint == endpoint)
            .count()
    };
    let asked = [
        count(Endpoint::Imds),
        count(Endpoint::Vault),
        count(Endpoint::Login),
    ];
    ensure!(
        asked == [1, 1, 0],
        "one token and one secret were to be asked for, not {asked:?}"
    );
    say("   What went over the wire:")?;
    for request in &requests {
        let way = match (request.endpoint, &request.tls) {
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
            "     {} {host}{}  ({way})",
            request.method,
            request.path()
        ))?;
    }
    say("")
}

fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("   | {line}")).collect();
    lines.join("\n")
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("writing to standard output")
}

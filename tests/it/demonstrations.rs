//! The two examples that show the program to a new user: the demo, and the shell with the stand-in.

use std::env;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

/// `cargo run` of an example. The variables that Cargo sets for a test would make build scripts run again.
fn run(example: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--example", example, "--"]);
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["OUT_DIR", "CARGO_PKG_", "CARGO_MANIFEST_", "AKV_INIT_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo starts");
    // The demo reads nothing, and may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Standard output and standard error of a run that went well.
#[track_caller]
fn texts(output: Output) -> (String, String) {
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success(),
        "{}\n{stdout}{stderr}",
        output.status
    );
    (stdout, stderr)
}

#[test]
fn demo_shows_exec_check_and_write() {
    let (stdout, stderr) = texts(run("demo", &[], ""));
    assert_eq!(stderr, "");
    assert!(stdout.lines().count() <= 60, "{stdout}");
    for scene in ["1. exec: ", "2. exec: ", "3. check: ", "4. write: "] {
        assert!(stdout.contains(&format!("\n{scene}")), "{stdout}");
    }
}

#[test]
fn standin_says_that_its_address_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run("standin", &["--vault", &address], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(
        stderr,
        format!("standin: the vault endpoint at {address}: Address already in use (os error 98)\n")
    );
}

#[test]
fn commands_that_the_shell_suggests_show_what_they_promise() {
    let (greeting, _) = texts(run("standin", &["--shell"], ""));
    let commands: Vec<&str> = greeting
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .collect();
    assert_eq!(commands.len(), 8, "{greeting}");
    let input: String = commands
        .iter()
        .map(|command| format!("echo '== {}'\n{command}\n", command.replace('\'', "")))
        .collect();
    let (stdout, stderr) = texts(run("standin", &["--shell"], &input));
    let printed: Vec<&str> = stdout.split("== ").skip(1).collect();
    let facts = [
        "all checks passed",
        "\ncorrect horse battery staple\n",
        "\napp\n",
        "app.env",
        "",
        "",
        "\ncorrect horse battery staple\n",
        "exit code 66",
    ];
    assert_eq!(printed.len(), facts.len(), "{stdout}");
    for (printed, fact) in printed.iter().zip(facts) {
        assert!(printed.contains(fact), "{fact:?}: {printed}");
    }
    for fact in ["connection refused", "(ForbiddenByRbac)"] {
        assert!(stderr.contains(fact), "{stderr}");
    }
    let warnings = stderr.lines().filter(|line| line.contains("warning: "));
    for warning in warnings {
        assert!(warning.contains("stored on disk"), "{warning}");
    }
    assert!(greeting.contains("a warning, if $SECRETS is on disk"));
    assert!(
        !stderr.contains("standin:") && !stdout.contains("standin:"),
        "{stdout}{stderr}"
    );
}

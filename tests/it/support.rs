//! Runs of the real binary with a cleared environment, and assertions on their output.
//!
//! `AKV_INIT_TEST_BINARY` names another binary to test, such as the static release file; without it the tests run the
//! one that cargo has just built.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::azure::Azure;

/// For [`exec`] without options.
pub const NO_OPTIONS: [&str; 0] = [];

/// The binary under test.
pub fn binary() -> PathBuf {
    match std::env::var_os("AKV_INIT_TEST_BINARY") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_akv-init")),
    }
}

/// One run of the binary.
pub struct Run {
    command: Command,
}

/// The end of a run and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, if it was not ended by a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All of standard output, as text.
    pub stdout: String,
    /// All of standard error, as text.
    pub stderr: String,
}

/// A run with these arguments and an empty environment.
pub fn akv_init<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Run {
    let mut command = Command::new(binary());
    command.env_clear().args(words).stdin(Stdio::null());
    Run { command }
}

/// `akv-init exec` with these arguments and the settings that lead to the fake Azure; the deadline is 30 s.
pub fn exec<W: AsRef<OsStr>>(azure: &Azure, words: impl IntoIterator<Item = W>) -> Run {
    with_azure("exec", azure, words)
}

/// The same with the proxy, which connects every name to the fake Azure.
pub fn through_the_proxy(azure: &Azure) -> Run {
    exec(azure, NO_OPTIONS).env("HTTPS_PROXY", azure.proxy())
}

/// The same for `akv-init write`, which does not say what it has written.
pub fn write<W: AsRef<OsStr>>(azure: &Azure, words: impl IntoIterator<Item = W>) -> Run {
    with_azure("write", azure, words).env("AKV_INIT_QUIET", "true")
}

fn with_azure<W: AsRef<OsStr>>(
    verb: &str,
    azure: &Azure,
    words: impl IntoIterator<Item = W>,
) -> Run {
    akv_init([verb])
        .args(words)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("AKV_INIT_TIMEOUT", "30")
}

/// The same with the variables that the workload identity webhook sets.
pub fn exec_federated<W: AsRef<OsStr>>(azure: &Azure, words: impl IntoIterator<Item = W>) -> Run {
    let mut run = exec(azure, words).without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    for (name, value) in azure.workload_environment() {
        run = run.env(name, value);
    }
    run
}

impl Run {
    /// With more arguments.
    pub fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Run {
        self.command.args(words);
        self
    }

    /// With a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Run {
        self.command.env(name, value);
        self
    }

    /// Without a variable.
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Run {
        self.command.env_remove(name);
        self
    }

    /// With `--secret` for each of these references, and a COMMAND that prints their values, a line each.
    pub fn printing(self, references: &[impl AsRef<str>]) -> Run {
        let target = |index: usize| format!("S{index}");
        let run = references
            .iter()
            .enumerate()
            .fold(self, |run, (index, it)| {
                let secret = format!("{}={}", target(index), it.as_ref());
                run.args(["--secret", &secret])
            });
        let targets = (0..references.len()).map(target);
        run.args(["--", "printenv"]).args(targets)
    }

    /// With a change of its [`Command`].
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Run {
        change(&mut self.command);
        self
    }

    /// The same with a copy of the binary in a directory, which other users may read where they may not read the
    /// original.
    pub fn copied_to(self, dir: &Path) -> Run {
        let program = dir.join("akv-init");
        // By another process: a fork of another test could keep the file open for writing, and then it cannot be run.
        let copied = Command::new("cp").arg(binary()).arg(&program).status();
        assert!(copied.expect("there is cp").success());
        let mut command = Command::new(program);
        command.args(self.command.get_args()).env_clear();
        let variables = self.command.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null());
        Run { command }
    }

    /// Runs to the end.
    pub fn outcome(mut self) -> Outcome {
        Outcome::from(self.command.output().expect("the binary under test starts"))
    }

    /// With every line of standard error as a JSON object.
    pub fn json(self) -> Run {
        self.env("AKV_INIT_LOG_FORMAT", "json")
    }

    /// Runs to the end, which must be a failure: see [`Outcome::failure`].
    #[track_caller]
    pub fn failure(self, code: i32, cause: &str) -> Failure {
        self.json().outcome().failure(code, cause)
    }

    /// Starts it; standard output and error are pipes.
    pub fn spawn(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(
            self.command.spawn().expect("the binary under test starts"),
        ))
    }
}

/// A run that has not ended. It is killed when dropped, so that a failed test leaves no process.
pub struct Running(Option<Child>);

impl Running {
    /// The process's id.
    pub fn pid(&self) -> i32 {
        self.child().id().try_into().expect("a pid fits")
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal)
            .expect("the process is there");
    }

    /// Writes to its standard input, if that is a pipe, and closes it.
    pub fn say(&mut self, text: &str) {
        let mut stdin = self
            .child_mut()
            .stdin
            .take()
            .expect("standard input is a pipe");
        stdin
            .write_all(text.as_bytes())
            .expect("the process reads it");
    }

    /// The process itself, for its pipes.
    pub fn child_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect("it has not been waited for")
    }

    fn child(&self) -> &Child {
        self.0.as_ref().expect("it has not been waited for")
    }

    /// Waits for its end.
    pub fn outcome(mut self) -> Outcome {
        let child = self.0.take().expect("it has not been waited for");
        Outcome::from(
            child
                .wait_with_output()
                .expect("the process can be waited for"),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Outcome {
    /// Asserts exit code 0 and an empty standard error, and returns standard output.
    #[track_caller]
    pub fn stdout_alone(&self) -> &str {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "stdout: {}",
            self.stdout
        );
        &self.stdout
    }

    /// Asserts that it failed with this code, with an empty standard output and with lines of these kinds (`error`, `hint`,
    /// `warning`): the wording is in `messages.golden.txt`.
    #[track_caller]
    pub fn failed(&self, code: i32, lines: &[&str]) {
        let kind = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
        let expected: Vec<String> = lines.iter().map(|line| kind(line)).collect();
        let actual: Vec<String> = self
            .stderr
            .lines()
            .map(|line| kind(line.strip_prefix("akv-init: ").unwrap_or_default()))
            .collect();
        assert_eq!(actual, expected, "{}", self.stderr);
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""));
    }

    /// Asserts that a run with [`Run::json`] failed with this exit code and cause, wrote nothing to standard output and
    /// ended with one `error` line, which is returned.
    #[track_caller]
    pub fn failure(&self, code: i32, cause: &str) -> Failure {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), ""),
            "{}",
            self.stderr
        );
        let lines = self.json_lines();
        let (last, before) = lines
            .split_last()
            .unwrap_or_else(|| panic!("no error line: {self:?}"));
        let is_error = |line: &Value| line["level"] == "error";
        assert!(is_error(last), "the last line is not an error: {last}");
        assert!(!before.iter().any(is_error), "two errors: {}", self.stderr);
        assert_eq!(
            (&last["code"], &last["cause"]),
            (&code.into(), &cause.into()),
            "{last}"
        );
        Failure {
            line: last.clone(),
            stderr: self.stderr.clone(),
        }
    }

    /// All of standard error, of a run with [`Run::json`].
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parsed = |line| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not a JSON object: {line:?}"))
        };
        self.stderr.lines().map(parsed).collect()
    }

    /// The lines of one level (`debug`, `info`, `warning`, `error`), of a run with [`Run::json`].
    #[track_caller]
    pub fn lines_of(&self, level: &str) -> Vec<Value> {
        let mut lines = self.json_lines();
        lines.retain(|line| line["level"] == level);
        lines
    }

    /// What `--dry-run` printed on the lines with this label, such as `secret` or `deadline`.
    #[track_caller]
    pub fn planned(&self, label: &str) -> Vec<&str> {
        let lines = self.stdout_alone().lines();
        let parts = lines.filter_map(|line| line.split_once(' '));
        let with_label = parts.filter(|(found, _)| *found == label);
        with_label.map(|(_, rest)| rest.trim_start()).collect()
    }

    /// The first `error:` line, without its prefix.
    pub fn error(&self) -> Option<&str> {
        self.stderr
            .lines()
            .find_map(|line| line.strip_prefix("akv-init: error: "))
    }
}

/// The `error` line of a run that failed. The wording is in `messages.golden.txt`; what a test asserts here is facts.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The JSON object.
    pub line: Value,
    /// All of standard error.
    pub stderr: String,
}

impl Failure {
    /// Asserts that there is a hint.
    #[track_caller]
    pub fn hinted(&self) -> &Failure {
        assert!(self.line["hint"].is_string(), "no hint: {}", self.line);
        self
    }

    /// Asserts that there is no hint.
    #[track_caller]
    pub fn unhinted(&self) -> &Failure {
        assert_eq!(self.line["hint"], Value::Null, "{}", self.line);
        self
    }

    /// Asserts that the message contains a value that the user needs: a path, a host, a variable.
    #[track_caller]
    pub fn names(&self, value: &str) -> &Failure {
        let message = self.message();
        assert!(message.contains(value), "{value:?} is not in {message:?}");
        self
    }

    /// Asserts that the hint contains such a value.
    #[track_caller]
    pub fn hint_names(&self, value: &str) -> &Failure {
        let hint = self.line["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(value), "{value:?} is not in {hint:?}");
        self
    }

    /// Asserts that neither the message nor anything else in standard error contains this text.
    #[track_caller]
    pub fn omits(&self, text: &str) -> &Failure {
        assert!(!self.stderr.contains(text), "{text:?} in {}", self.stderr);
        self
    }

    /// Asserts one of the line's named facts.
    #[track_caller]
    pub fn fact(&self, name: &str, value: impl Into<Value>) -> &Failure {
        assert_eq!(self.line[name], value.into(), "{name} of {}", self.line);
        self
    }

    /// The message. Its wording is not for a test to compare.
    pub fn message(&self) -> &str {
        self.line["message"].as_str().unwrap_or_default()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Outcome {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

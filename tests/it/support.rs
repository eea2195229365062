//! Starting the real binary with a cleared environment, and reading all that it said.
//!
//! `AKV_INIT_TEST_BINARY` names another binary to test, such as the static release file; without it the tests run the
//! one that cargo has just built.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::azure::Azure;

/// What is said of a COMMAND that is a path which leads nowhere.
pub const IN_IMAGE: &str = "hint: is it in this image, at this path?";
/// What is said of every service that answers 429 to the end.
pub const THROTTLED: &str = "hint: it is asked too often, by whomever: wait, and let fewer containers start at the same \
                             time";

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

/// What a run came to.
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

/// A run with these words behind the program's name, and no environment at all.
pub fn akv_init<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Run {
    let mut command = Command::new(binary());
    command.env_clear().args(words).stdin(Stdio::null());
    Run { command }
}

/// `akv-init exec` with these words behind it, where the stand-in is Azure: IMDS, trust and the vault's host are set,
/// and the deadline is short of a minute.
pub fn exec<W: AsRef<OsStr>>(azure: &Azure, words: impl IntoIterator<Item = W>) -> Run {
    with_azure("exec", azure, words)
}

/// The same for `akv-init write`.
pub fn write<W: AsRef<OsStr>>(azure: &Azure, words: impl IntoIterator<Item = W>) -> Run {
    with_azure("write", azure, words)
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
    /// With more words at the end.
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

    /// With anything else that a process can be started with.
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Run {
        change(&mut self.command);
        self
    }

    /// Runs to the end.
    pub fn outcome(mut self) -> Outcome {
        Outcome::from(self.command.output().expect("the binary under test starts"))
    }

    /// Starts it and comes back at once; standard output and error are pipes.
    pub fn spawn(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(
            self.command.spawn().expect("the binary under test starts"),
        ))
    }
}

/// A run that has not ended. Dropped before its end, it is killed: a test that fails leaves nothing behind.
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
        stdin.write_all(text.as_bytes()).expect("somebody reads");
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
    /// The whole of standard output where all went well: exit code 0 and nothing on standard error.
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

    /// Asserts that it failed with this code and said exactly this, and nothing on standard output. Every line is
    /// given without its `akv-init: `.
    #[track_caller]
    pub fn failed(&self, code: i32, lines: &[&str]) {
        let expected: String = lines
            .iter()
            .map(|line| format!("akv-init: {line}\n"))
            .collect();
        assert_eq!(self.stderr, expected);
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""));
    }

    /// The first `hint:` line, without its prefix.
    pub fn hint(&self) -> Option<&str> {
        self.stderr
            .lines()
            .find_map(|line| line.strip_prefix("akv-init: hint: "))
    }

    /// The first `error:` line, without its prefix.
    pub fn error(&self) -> Option<&str> {
        self.stderr
            .lines()
            .find_map(|line| line.strip_prefix("akv-init: error: "))
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

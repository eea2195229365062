//! `exec` replaces its process by COMMAND, which inherits what akv-init inherited, with and without a fetched secret.

mod descriptors;
pub mod failures;
mod search;

use std::process::{Command, Stdio};

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use crate::azure::{Azure, Endpoint};
use crate::support::{Outcome, exec};
use crate::support_inherited as inherited;

/// What a process inherits, as procfs shows it: identity, signals, limits, scheduling.
const STATE: [&str; 8] = [
    "/bin/cat",
    "/proc/self/stat",
    "/proc/self/status",
    "/proc/self/limits",
    "/proc/self/cgroup",
    "/proc/self/coredump_filter",
    "/proc/self/oom_score_adj",
    "/proc/self/personality",
];

/// Runs a command by itself and by `akv-init exec`.
struct Comparison {
    azure: Azure,
    secret: String,
}

impl Comparison {
    fn new() -> Comparison {
        let azure = Azure::start();
        azure.secret("sa", "s3cret");
        let secret = format!("S=akv://{}/sa", azure.vault());
        Comparison { azure, secret }
    }

    /// Starts the command by itself, and by `exec` without and with a secret, each prepared alike. The outcomes must be
    /// the same; one is returned.
    #[track_caller]
    fn compare(&self, words: &[&str], prepare: impl Fn(&mut Command)) -> Outcome {
        let mut alone = Command::new(words[0]);
        alone.args(&words[1..]).env_clear().stdin(Stdio::null());
        prepare(&mut alone);
        let alone = comparable(alone.output().expect("the command starts").into());
        let at_once = exec(&self.azure, ["--"]).args(words).with(&prepare);
        assert_eq!(comparable(at_once.outcome()), alone, "without a reference");
        assert_eq!(self.azure.connections(Endpoint::Imds), 0);
        let fetched = exec(&self.azure, ["--secret", &self.secret, "--"]);
        let fetched = fetched.args(words).with(&prepare);
        assert_eq!(comparable(fetched.outcome()), alone, "after a fetch");
        assert_eq!(self.azure.requests_at(Endpoint::Vault).len(), 1);
        alone
    }

    /// What the command prints after a fetch.
    #[track_caller]
    fn output(&self, words: &[&str], prepare: impl FnOnce(&mut Command)) -> String {
        let run = exec(&self.azure, ["--secret", &self.secret, "--"]).args(words);
        run.with(prepare).outcome().stdout_alone().to_owned()
    }
}

/// An outcome without what differs between any two processes: ids, memory, accounting.
fn comparable(mut outcome: Outcome) -> Outcome {
    const DIFFERENT: [&str; 13] = [
        "FDSize", "Hugetlb", "NSpid", "NStgid", "Ngid", "Pid", "Rss", "SigQ", "State", "Tgid",
        "Vm", "nonvol", "volun",
    ];
    let lasting = |line: &str| match line.rsplit_once(") ") {
        Some((_, fields)) if line.contains("(cat)") => {
            let fields: Vec<&str> = fields.split(' ').collect();
            // proc_pid_stat(5), counted from the state, which is the third field: parent, group, session, terminal,
            // its foreground group; priority, nice, threads; exit signal, real-time priority, policy.
            [1, 2, 3, 4, 5, 15, 16, 17, 35, 37, 38]
                .map(|at| fields[at])
                .join(" ")
        }
        _ => match line.strip_prefix("SigIgn:\t") {
            // 32 to 34 belong to the C library: glibc uses 33, even if it was ignored.
            Some(set) => {
                let set = u64::from_str_radix(set, 16).expect("a set of signals is in hexadecimal");
                format!("SigIgn:\t{:016x}", set & !(0b111 << 31))
            }
            None => line.to_owned(),
        },
    };
    outcome.stdout = outcome
        .stdout
        .lines()
        .filter(|line| !DIFFERENT.iter().any(|name| line.starts_with(name)))
        .map(|line| lasting(line) + "\n")
        .collect();
    outcome
}

/// A line of `/proc/self/status`.
#[track_caller]
fn field<'a>(outcome: &'a Outcome, name: &str) -> &'a str {
    let mut lines = outcome.stdout.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        .unwrap_or_else(|| panic!("no {name} in: {outcome:?}"))
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as u64 - 1)
}

/// A set of signals of `/proc/self/status`.
#[track_caller]
fn signals(outcome: &Outcome, name: &str) -> u64 {
    u64::from_str_radix(field(outcome, name), 16).expect("a set of signals is in hexadecimal")
}

#[test]
fn command_has_the_same_pid() {
    let process = Comparison::new();
    for options in [&["--"][..], &["--secret", &process.secret, "--"]] {
        let run = exec(&process.azure, options).args(["/bin/sh", "-c", "echo $$; read line"]);
        let mut running = run
            .with(|command| {
                command.stdin(Stdio::piped());
            })
            .spawn();
        let pid = running.pid();
        running.say("done\n");
        assert_eq!(running.outcome().stdout_alone(), format!("{pid}\n"));
    }
}

#[test]
fn exit_status_is_that_of_command() {
    let process = Comparison::new();
    let outcome = process.compare(&["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], |_| {});
    assert_eq!(
        (
            outcome.code,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (Some(3), "out\n", "err\n")
    );
    let outcome = Comparison::new().compare(&["/bin/sh", "-c", "kill -KILL $$"], |_| {});
    assert_eq!((outcome.code, outcome.signal), (None, Some(9)));
}

#[test]
fn argv_is_unchanged() {
    let process = Comparison::new();
    let path = |command: &mut Command| {
        command.env("PATH", "/nowhere:/bin:/usr/bin");
    };
    assert_eq!(
        process.output(&["cat", "/proc/self/cmdline"], path),
        "cat\0/proc/self/cmdline\0"
    );
    let in_root = |command: &mut Command| {
        command.current_dir("/");
    };
    let words = ["./bin/cat", "--", "proc/self/cmdline", "/dev/null"];
    assert_eq!(
        process.output(&words, in_root),
        "./bin/cat\0--\0proc/self/cmdline\0/dev/null\0"
    );
    let words = [
        "/bin/sh",
        "-c",
        "printf '[%s]' \"$@\"",
        "sh",
        "",
        " two words ",
        "\n",
    ];
    assert_eq!(process.output(&words, |_| {}), "[][ two words ][\n]");
}

#[test]
fn inherited_state_is_unchanged() {
    let outcome = Comparison::new().compare(&STATE, |_| {});
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(field(&outcome, "Threads"), "1");
}

#[test]
fn ignored_sigpipe_stays_ignored() {
    let outcome = Comparison::new().compare(&STATE, |command| {
        inherited::ignore(command, &[Signal::SIGPIPE]);
    });
    assert_ne!(signals(&outcome, "SigIgn") & bit(Signal::SIGPIPE), 0);
}

#[test]
fn default_sigpipe_stays_default() {
    let outcome = Comparison::new().compare(&STATE, |_| {});
    assert_eq!(signals(&outcome, "SigIgn") & bit(Signal::SIGPIPE), 0);
    // A writer without a reader is killed by it.
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let process = Comparison::new();
    let run = exec(
        &process.azure,
        ["--secret", &process.secret, "/bin/cat", "/proc/version"],
    );
    let mut running = run
        .with(move |command| inherited::pass(command, writer.into(), 1))
        .spawn();
    let status = running.child_mut().wait().expect("it ends");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(Signal::SIGPIPE as i32)
    );
}

#[test]
fn ignored_and_blocked_signals_stay_so() {
    let outcome = Comparison::new().compare(&STATE, |command| {
        let ignored = &[
            Signal::SIGCHLD,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGUSR1,
        ];
        inherited::ignore(command, ignored);
        let blocked = &[
            Signal::SIGALRM,
            Signal::SIGPIPE,
            Signal::SIGTERM,
            Signal::SIGUSR2,
        ];
        inherited::block(command, blocked);
    });
    let set = |signals: [Signal; 4]| signals.into_iter().map(bit).sum::<u64>();
    let ignored = [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGUSR1,
    ];
    let blocked = [
        Signal::SIGALRM,
        Signal::SIGPIPE,
        Signal::SIGTERM,
        Signal::SIGUSR2,
    ];
    assert_eq!(signals(&outcome, "SigIgn") & set(ignored), set(ignored));
    assert_eq!(signals(&outcome, "SigBlk"), set(blocked));
    assert_eq!(signals(&outcome, "SigCgt"), 0);
}

#[test]
fn umask_and_limits_are_unchanged() {
    let outcome = Comparison::new().compare(&STATE, |command| {
        inherited::mask_files(command, 0o137);
        inherited::limit(command, Resource::RLIMIT_CORE, 0, 0);
        inherited::limit(command, Resource::RLIMIT_NOFILE, 77, 99);
        inherited::limit(command, Resource::RLIMIT_STACK, 4 << 20, 16 << 20);
    });
    assert_eq!(field(&outcome, "Umask"), "0137");
    let files = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let files: Vec<&str> = files
        .expect("a line of limits")
        .split_whitespace()
        .collect();
    assert_eq!(files, ["Max", "open", "files", "77", "99", "files"]);
}

#[test]
fn working_directory_is_unchanged() {
    let process = Comparison::new();
    let directory = process.azure.dir().canonicalize().expect("it is there");
    let outcome = process.compare(&["/bin/pwd"], |command| {
        command.current_dir(&directory);
    });
    assert_eq!(outcome.stdout_alone(), format!("{}\n", directory.display()));
}

#[test]
fn run_without_a_reference_costs_no_connection() {
    let azure = Azure::start();
    let run = exec(&azure, ["--vault", "kv1", "/bin/echo", "akv://kv1/sa"]);
    // Not even the certificate or the token file is read.
    let run = run
        .env("SSL_CERT_FILE", "/nowhere/ca.pem")
        .env("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token")
        .env("URL", "https://kv1.vault.azure.net/secrets/sa");
    assert_eq!(run.outcome().stdout_alone(), "akv://kv1/sa\n");
    for endpoint in Endpoint::ALL {
        assert_eq!(azure.connections(endpoint), 0, "{endpoint:?}");
    }
}

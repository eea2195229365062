//! While akv-init holds a token or a secret, neither another process of its user nor a core shows its memory.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use nix::sys::resource::{RLIM_INFINITY, Resource};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::SECRET;
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, Running, akv_init};
use crate::support_inherited as inherited;

/// Root may read the memory of any process, so these runs are of another user.
fn as_user(command: &mut Command) {
    if geteuid().is_root() {
        command.uid(61_100).gid(61_100);
    }
}

/// A run of each command that gets a token or a secret, which starts `cat` if it starts a program.
fn runs(azure: &Azure) -> Vec<Run> {
    let secret = format!("S=akv://{}/leak", azure.vault());
    let reference = format!("akv://{}/leak", azure.vault());
    let dir = azure.dir().to_str().expect("UTF-8");
    let words: [&[&str]; 6] = [
        &["exec", "--secret", &secret, "--", "/bin/cat"],
        &["exec", "--init", "--secret", &secret, "--", "/bin/cat"],
        &["check", "--secret", &secret],
        &["get", &reference],
        &["token"],
        &["write", "--secret", &secret, dir],
    ];
    let runs = words.into_iter().map(|words| {
        akv_init(words)
            .copied_to(azure.dir())
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault())
            .env("AKV_INIT_TIMEOUT", "30")
            .with(|command| {
                as_user(command);
                command.current_dir(azure.dir()).stdin(Stdio::piped());
                inherited::limit(command, Resource::RLIMIT_CORE, 8_192, RLIM_INFINITY);
            })
    });
    runs.collect()
}

/// Whether another process of the user may open this file of a process.
fn is_readable(pid: i32, file: &str) -> bool {
    let mut cat = Command::new("/bin/sh");
    cat.args(["-c", &format!("exec </proc/{pid}/{file}")]);
    as_user(&mut cat);
    let status = cat.stderr(Stdio::null()).status();
    status.expect("there is a shell").success()
}

/// The last process in a chain of only children.
fn last_child(running: &Running) -> i32 {
    let mut pid = running.pid();
    loop {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        match children.expect("it runs").split_whitespace().next() {
            Some(child) => pid = child.parse().expect("a pid"),
            None => return pid,
        }
    }
}

fn azure_for_other_users() -> Azure {
    let azure = Azure::start();
    azure.secret("leak", SECRET);
    fs::set_permissions(azure.dir(), Permissions::from_mode(0o777)).expect("it is ours");
    azure
}

/// Starts a run and waits until it has requested a token, which it does not get until [`Azure::release`]. Returns the
/// process that fetches, too.
fn start_and_hold(azure: &Azure, run: Run) -> (Running, i32) {
    let before = azure.requests_at(Endpoint::Imds).len();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let running = run.spawn();
    azure.wait_for(Endpoint::Imds, before + 1);
    let pid = last_child(&running);
    (running, pid)
}

#[test]
fn memory_of_a_run_that_fetches_is_closed_to_other_processes_of_its_user() {
    let azure = azure_for_other_users();
    for run in runs(&azure) {
        let (mut running, pid) = start_and_hold(&azure, run);
        for file in ["mem", "environ", "fd/2"] {
            assert!(!is_readable(pid, file), "{file}");
        }
        azure.release();
        running.say("");
        assert_eq!(running.outcome().code, Some(0));
    }
}

#[test]
fn abort_of_a_run_that_fetches_leaves_no_core() {
    let azure = azure_for_other_users();
    for run in runs(&azure) {
        let (mut running, pid) = start_and_hold(&azure, run);
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
        assert_eq!(core_limit(&limits), ["0", "unlimited"]);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGABRT).expect("it runs");
        let status = running.child_mut().wait().expect("it ends");
        azure.release();
        assert!(!status.core_dumped(), "{status}");
    }
}

/// The soft and the hard limit.
fn core_limit(limits: &str) -> [&str; 2] {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let mut words = line.expect("a line of limits").split_whitespace();
    [(); 2].map(|()| words.next().expect("two limits"))
}

#[test]
fn command_has_the_core_limit_of_the_caller_and_is_dumpable() {
    let azure = azure_for_other_users();
    for run in runs(&azure).into_iter().take(2) {
        let mut running = run.spawn();
        // `cat` answers once it runs.
        let child = running.child_mut();
        let (stdin, stdout) = (child.stdin.as_mut(), child.stdout.as_mut());
        stdin.expect("a pipe").write_all(b"x").expect("it reads");
        let mut answer = [0];
        let read = stdout.expect("a pipe").read_exact(&mut answer);
        read.expect("it writes");
        let pid = last_child(&running);
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
        assert_eq!(core_limit(&limits), ["8192", "unlimited"]);
        assert!(is_readable(pid, "environ"));
        running.say("");
        assert_eq!(running.outcome().stdout_alone(), "");
    }
}

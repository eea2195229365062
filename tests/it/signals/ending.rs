//! Which signals end the wait, and which do not: each place that waits, and what COMMAND inherits.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use super::{ended, full_pipe, run, stopped};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Outcome, Run, Running, akv_init, exec, write};
use crate::support_inherited as inherited;

/// Signals that end the wait beside TERM, INT, QUIT and HUP; the second half are real-time ones.
const OTHERS: [i32; 14] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPWR,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSTKFLT,
    // Those that C libraries reserve.
    32,
    33,
    34,
    // systemd's STOPSIGNAL, SIGRTMIN+3.
    37,
    50,
    64,
];

/// Sends a signal by its number: nix names no real-time signal.
fn send(running: &Running, signal: i32) {
    // SAFETY: kill takes any two numbers.
    Errno::result(unsafe { libc::kill(running.pid(), signal) }).expect("the process is there");
}

/// With the default action of each signal: posix_spawn of glibc ignores one that it reserves.
fn restored(run: Run) -> Run {
    run.with(|command| {
        let restore = || {
            let default = [0_u64; 16];
            for signal in OTHERS {
                // SAFETY: the kernel reads less than that, and zeros are the default action.
                let done = unsafe {
                    libc::syscall(
                        libc::SYS_rt_sigaction,
                        signal,
                        default.as_ptr(),
                        std::ptr::null::<u8>(),
                        size_of::<u64>(),
                    )
                };
                Errno::result(done)?;
            }
            Ok(())
        };
        // SAFETY: it makes system calls only.
        unsafe { command.pre_exec(restore) };
    })
}

/// Asserts that each of these signals ends each run with 128 + its number and one line, at once.
#[track_caller]
fn each_ends(azure: &Azure, signals: &[i32], words: &[&str]) {
    let runs: Vec<Running> = signals
        .iter()
        .map(|_| restored(run(azure, words)).spawn())
        .collect();
    azure.wait_for(Endpoint::Imds, signals.len());
    let sent = Instant::now();
    for (running, signal) in runs.iter().zip(signals) {
        send(running, *signal);
    }
    for (running, signal) in runs.into_iter().zip(signals) {
        let outcome = running.outcome();
        outcome.failure(128 + signal, "signal").names(&azure.imds());
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    assert!(sent.elapsed() < Duration::from_secs(10));
}

#[test]
fn every_stop_signal_ends_the_wait() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    each_ends(&azure, &OTHERS, &["/bin/true"]);
}

#[test]
fn every_stop_signal_ends_the_wait_under_init() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    each_ends(&azure, &OTHERS, &["--init", "--", "/bin/true"]);
}

#[test]
fn real_time_signal_is_named_as_in_a_stopsignal() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/true"]).spawn();
    azure.wait_for(Endpoint::Imds, 1);
    send(&running, 37);
    running.outcome().failure(165, "signal").names("SIGRTMIN+3");
}

#[test]
fn resized_window_does_not_end_the_wait() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/echo", "through"]).spawn();
    azure.wait_for(Endpoint::Imds, 1);
    running.signal(Signal::SIGWINCH);
    azure.release();
    assert_eq!(running.outcome().stdout_alone(), "through\n");
}

#[test]
fn signals_of_a_crash_have_their_default_action() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    for (count, signal) in [Signal::SIGABRT, Signal::SIGTRAP].into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"])
            .with(|command| inherited::limit(command, Resource::RLIMIT_CORE, 0, 0))
            .spawn();
        azure.wait_for(Endpoint::Imds, count + 1);
        running.signal(signal);
        assert_eq!(running.outcome().signal, Some(signal as i32));
    }
}

#[test]
fn ignored_stop_signals_stay_ignored() {
    const IGNORED: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGPWR, Signal::SIGTERM];
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/cat", "/proc/self/status"])
        .with(|command| inherited::ignore(command, &IGNORED))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    for signal in IGNORED {
        running.signal(signal);
    }
    azure.release();
    let outcome = running.outcome();
    let ignored = IGNORED
        .iter()
        .fold(0, |bits, signal| bits | 1_u64 << (*signal as i32 - 1));
    assert_eq!(field(&outcome, "SigIgn:\t") & ignored, ignored);
    assert_eq!(field(&outcome, "SigBlk:\t"), 0);
    assert_eq!(field(&outcome, "SigPnd:\t"), 0);
}

/// A field of `/proc/self/status` that COMMAND printed.
fn field(outcome: &Outcome, name: &str) -> u64 {
    let mut lines = outcome.stdout_alone().lines();
    let digits = lines.find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(digits.expect("a field of status"), 16).expect("it is a mask")
}

/// Around the moment of execve each signal ends either akv-init or COMMAND.
#[test]
fn stop_signals_around_the_exec_are_not_dropped() {
    let azure = Azure::start();
    let mut delay = Duration::ZERO;
    for signal in [libc::SIGUSR1, 37].into_iter().cycle().take(40) {
        let before = azure.requests_at(Endpoint::Vault).len();
        let running = run(&azure, &["/bin/sleep", "30"]).spawn();
        azure.wait_for(Endpoint::Vault, before + 1);
        thread::sleep(delay);
        send(&running, signal);
        let outcome = running.outcome();
        match (outcome.code, outcome.signal) {
            (Some(_), None) => {
                outcome.failure(128 + signal, "signal");
                delay += Duration::from_micros(60);
            }
            (None, Some(ended_by)) => {
                assert_eq!(ended_by, signal);
                delay = delay.saturating_sub(Duration::from_micros(60));
            }
            _ => panic!("after {delay:?} the signal was dropped: {outcome:?}"),
        }
    }
}

#[test]
fn signal_ends_the_write_to_a_full_standard_output() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let (reader, writer) = full_pipe();
    let reference = format!("akv://{}/sa", azure.vault());
    let mut running = akv_init(["get", &reference])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .with(|command| inherited::pass(command, writer.into(), 1))
        .spawn();
    azure.wait_for(Endpoint::Vault, 1);
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGTERM);
    assert_eq!(ended(&mut running), Some(143));
    drop(reader);
}

#[test]
fn signal_ends_the_wait_for_the_lock_of_a_directory() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let dir = azure.dir().join("out");
    fs::create_dir(&dir).unwrap();
    let locked = File::open(&dir).unwrap();
    locked.lock().unwrap();
    let secret = format!("sa=akv://{}/sa", azure.vault());
    let running = write(&azure, ["--secret", &secret, dir.to_str().unwrap()])
        .json()
        .spawn();
    azure.wait_for(Endpoint::Vault, 1);
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGTERM);
    let outcome = running.outcome();
    stopped(&outcome, Signal::SIGTERM, &[dir.to_str().unwrap()]);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// Under a limit on processes the threads that could be started do the work of the others.
#[test]
fn secrets_are_fetched_under_a_limit_on_processes() {
    // The limit is not for root, and any other user may have processes already.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for (limit, user) in [
        (2, 64_902),
        (3, 64_903),
        (5, 64_905),
        (9, 64_909),
        (17, 64_917),
    ] {
        let azure = Azure::start();
        let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
        let options = names.iter().flat_map(|name| {
            azure.secret(name, name);
            [
                "--secret".to_owned(),
                format!("V_{name}=akv://{}/{name}", azure.vault()),
            ]
        });
        let options: Vec<String> = options.collect();
        let run = exec(&azure, options).args(["--", "/bin/echo", "through"]);
        let outcome = as_user(run, user, limit).outcome();
        assert_eq!(outcome.stdout_alone(), "through\n", "{limit}");
    }
}

#[test]
fn process_that_may_start_no_thread_ends_with_69() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let run = exec(&azure, ["/bin/true"]).env("S", format!("akv://{}/sa", azure.vault()));
    as_user(run, 64_901, 1).failure(69, "unavailable").hinted();
}

/// As another user with this limit on processes.
fn as_user(run: Run, user: u32, processes: u64) -> Run {
    run.with(|command| {
        command.uid(user);
        inherited::limit(command, Resource::RLIMIT_NPROC, processes, processes);
    })
}

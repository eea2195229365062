//! Tokens that several vaults need, threads that cannot be started, and results that are printed before others are known.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::resource::Resource;
use nix::unistd::geteuid;

use super::{check, report_of, with_secret};
use crate::azure::{Azure, Endpoint, Response};
use crate::support_inherited as inherited;
use crate::support_requests::VALUE;

/// Vaults of an unknown cloud name the resource of their token themselves.
#[test]
fn refused_token_is_reported_for_each_vault() {
    let azure = Azure::builder()
        .name("42.vault.emulator.test")
        .name("43.vault.emulator.test")
        .vault_resource("https://vault.emulator.test")
        .start();
    azure.always(Endpoint::Imds, Response::imds_not_found());
    let secrets = ["42", "43"]
        .map(|vault| format!("--secret=S{vault}=akv://{vault}.vault.emulator.test/sql-sa"));
    let started = Instant::now();
    let outcome = check(&azure, &[&secrets[0], &secrets[1]])
        .without("AKV_INIT_ALLOW_VAULT")
        .env("HTTPS_PROXY", azure.proxy())
        .outcome();
    let report = report_of(&outcome, 77);
    for vault in ["42", "43"] {
        let host = format!("{vault}.vault.emulator.test");
        let token = format!("FAILED  token       {host}: for https://vault.emulator.test: from");
        let secret = format!("skipped secret      S{vault}: there is no access token\n");
        assert!(report.contains(&token), "{report}");
        assert!(report.contains(&secret), "{report}");
    }
    assert!(!report.contains("timed out"), "{report}");
    assert!(started.elapsed() < Duration::from_secs(8), "{report}");
    azure.clear(Endpoint::Imds);
    azure.secret("sql-sa", VALUE);
    let outcome = check(&azure, &[&secrets[0]])
        .without("AKV_INIT_ALLOW_VAULT")
        .env("HTTPS_PROXY", azure.proxy())
        .outcome();
    let report = report_of(&outcome, 0);
    let token = "ok      token       42.vault.emulator.test: for https://vault.emulator.test:";
    assert!(report.contains(token), "{report}");
}

/// Root has no limit on processes, so it runs as another user.
#[test]
fn limit_on_processes_costs_threads_and_nothing_else() {
    let azure = Azure::start();
    let names: Vec<String> = (0..20).map(|index| format!("secret-{index}")).collect();
    for name in &names {
        azure.secret(name, VALUE);
    }
    let dir = azure.dir().to_owned();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    for (index, processes) in [1, 3, 5, 9, 17].into_iter().enumerate() {
        let secrets = names.iter().enumerate();
        let secrets = secrets
            .map(|(index, name)| format!("--secret=S{index}=akv://{}/{name}", azure.vault()));
        let run = check(&azure, &[]).args(secrets).copied_to(&dir);
        let run = run.with(|command| {
            if geteuid().is_root() {
                command.uid(61_000 + index as u32).gid(61_000);
            }
            inherited::limit(command, Resource::RLIMIT_NPROC, processes, processes);
        });
        let outcome = run.outcome();
        let report = report_of(&outcome, 0);
        assert_eq!(
            report.matches("\nok      secret ").count(),
            20,
            "{processes}: {report}"
        );
    }
}

#[test]
fn trust_store_is_read_once() {
    let (azure, target) = with_secret();
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    // Without the end of each, events of the same kind would be merged.
    let events = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE;
    inotify.add_watch(azure.ca_file(), events).unwrap();
    report_of(&check(&azure, &["--secret", &target]).outcome(), 0);
    let mut events = inotify.read_events().unwrap();
    events.retain(|event| event.mask.contains(AddWatchFlags::IN_OPEN));
    assert_eq!(events.len(), 1, "{events:?}");
}

#[test]
fn lines_are_printed_when_they_are_known() {
    let (azure, target) = with_secret();
    azure.always(Endpoint::Vault, Response::usual().hold());
    let started = Instant::now();
    let mut running = check(&azure, &["--secret", &target]).spawn();
    let stdout = running.child_mut().stdout.take().unwrap();
    let mut times = Vec::new();
    for line in BufReader::new(stdout).lines() {
        times.push((line.unwrap(), started.elapsed()));
    }
    let time_of = |start: &str| {
        let found = times.iter().find(|(line, _)| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {times:?}")).1
    };
    let late = time_of("FAILED  secret ");
    for start in ["ok      reference ", "ok      identity ", "ok      token "] {
        assert!(time_of(start) + Duration::from_secs(1) < late, "{times:?}");
    }
}

//! The wait between rounds: how long it is, and what the process holds during it.

use nix::sys::signal::Signal;

use super::{Sidecar, count, every};
use crate::azure::{Azure, Endpoint, Response};
use crate::support_files::Place;

#[test]
fn hangup_is_a_round_at_once_and_one_in_a_round_is_another_after_it() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    azure.next(Endpoint::Vault, Response::usual().hold());
    sidecar.running.signal(Signal::SIGHUP);
    azure.wait_for(Endpoint::Vault, 2);
    // The round has read the old value already.
    azure.secret("a", "two");
    for _ in 0..100 {
        sidecar.running.signal(Signal::SIGHUP);
    }
    azure.release();
    let (lines, _) = sidecar.round_end();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(place.read("a"), b"two");
    assert!(count(&azure, Endpoint::Vault) <= 4);
    sidecar.stop();
}

#[test]
fn wait_is_the_interval_with_jitter_or_what_the_vault_asks_for() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let run = every(&place, &azure, &["--secret=a"]).env("AKV_INIT_TIMEOUT", "5");
    let mut sidecar = Sidecar::start(run);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (_, wait) = sidecar.round_end();
        assert!((540..=660).contains(&wait), "{wait}");
        waits.push(wait);
        sidecar.running.signal(Signal::SIGHUP);
    }
    sidecar.round_end();
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 5, "no jitter: {waits:?}");
    for (seconds, range) in [("3600", 3_600..=3_600), ("60", 540..=660)] {
        azure.next(
            Endpoint::Vault,
            Response::status(429).header("Retry-After", seconds),
        );
        sidecar.running.signal(Signal::SIGHUP);
        let (_, wait) = sidecar.round_end();
        assert!(range.contains(&wait), "{seconds}: {wait}");
    }
    // It is forgotten with the next round.
    sidecar.running.signal(Signal::SIGHUP);
    assert!((540..=660).contains(&sidecar.round_end().1));
    sidecar.stop();
}

#[test]
fn two_of_one_directory_take_turns() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "0");
    let start = || Sidecar::ready(every(&place, &azure, &["--secret=a"])).0;
    let mut sidecars = [start(), start()];
    for value in 1..20 {
        azure.secret("a", &value.to_string());
        for sidecar in &sidecars {
            sidecar.running.signal(Signal::SIGHUP);
        }
        for sidecar in &mut sidecars {
            let (lines, _) = sidecar.round_end();
            assert!(
                lines.iter().all(|line| line["level"] == "info"),
                "{lines:?}"
            );
        }
        assert_eq!(place.read("a"), value.to_string().as_bytes());
    }
    for sidecar in sidecars {
        sidecar.stop();
    }
}

#[test]
fn what_waits_has_one_thread_and_no_connection() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    let descriptors = sidecar.descriptors();
    assert!(
        !descriptors.iter().any(|it| it.starts_with("socket")),
        "{descriptors:?}"
    );
    for _ in 0..3 {
        sidecar.silent_round();
        assert_eq!(sidecar.status("Threads"), "1");
        let memory = sidecar.status("RssAnon");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap();
        assert!(kib <= 1_024, "{memory}");
        assert_eq!(sidecar.descriptors(), descriptors);
    }
    sidecar.stop();
}

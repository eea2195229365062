//! Many rounds, with a reader beside them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::{Sidecar, count, deleted, every};
use crate::azure::{Azure, Endpoint, Response};
use crate::support_files::Place;

/// The KiB by which the process may be larger after all rounds: a few pages, whatever the number of rounds.
const MAX_GROWTH: u64 = 32;

/// Reads the current set as programs do that want one set: through one resolution of `..data`. Every file in it must
/// have the same content. Returns `None` if the set was replaced during the read.
fn read_set(dir: &Path) -> Option<()> {
    let current_set =
        || dir.join(fs::read_link(dir.join("..data")).expect("there is always a set"));
    let set = current_set();
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for name in ["a", "b", "c"] {
        match fs::read(set.join(name)) {
            Ok(content) => contents.push(content),
            Err(_) if name == "c" => {}
            Err(_) => {
                // An old set loses its files one by one.
                assert_ne!(current_set(), set, "a set without `{name}`");
                return None;
            }
        }
    }
    contents.dedup();
    assert_eq!(contents.len(), 1, "a mixed set: {contents:?}");
    Some(())
}

/// Rounds in which secrets change, one of them appears and goes, and the vault fails in one round of three.
fn many_rounds(rounds: usize) {
    let (azure, place) = (Azure::start(), Place::in_memory());
    let optional = format!("c=akv://{}/c?optional", azure.vault());
    for name in ["a", "b", "c"] {
        azure.secret(name, "0");
    }
    let words = ["--secret=a", "--secret=b", "--secret", &optional];
    let run = every(&place, &azure, &words).env("AKV_INIT_TIMEOUT", "0");
    let (mut sidecar, _) = Sidecar::ready(run);
    let (is_over, sets) = (AtomicBool::new(false), AtomicU32::new(0));
    let dir = place.dir();
    let state = |sidecar: &Sidecar| {
        let kib = |field: &str| {
            let value = sidecar.status(field);
            value.trim_end_matches(" kB").parse::<u64>().expect("KiB")
        };
        (
            [kib("VmRSS"), kib("RssAnon")],
            sidecar.status("Threads"),
            sidecar.descriptors().len(),
        )
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if read_set(&dir).is_some() {
                    sets.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Ends the reader in any case, so that a failed assertion ends the test.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&is_over);
        let mut after_ten = None;
        for round in 1..=rounds {
            for name in ["a", "b", "c"] {
                azure.secret(name, &round.to_string());
            }
            azure.clear(Endpoint::Vault);
            if round % 2 == 0 {
                azure.always_for(Endpoint::Vault, "/secrets/c", deleted());
            }
            if round % 3 == 0 {
                azure.always(Endpoint::Vault, Response::status(503));
                azure.always_for(Endpoint::Vault, "/secrets/c", Response::status(503));
            }
            let lines = sidecar.round();
            let levels: Vec<&str> = lines.iter().filter_map(|it| it["level"].as_str()).collect();
            match round % 3 {
                0 => assert_eq!(levels, ["warning"], "{lines:?}"),
                _ => {
                    assert!(!levels.contains(&"warning"), "{lines:?}");
                    assert_eq!(place.read("a"), round.to_string().as_bytes());
                    assert_eq!(place.path("c").exists(), round % 2 == 1);
                }
            }
            if round == 10 {
                after_ten = Some(state(&sidecar));
            }
        }
        let (memory, threads, descriptors) = state(&sidecar);
        let (memory_before, threads_before, descriptors_before) = after_ten.expect("ten rounds");
        assert_eq!((threads, descriptors), (threads_before, descriptors_before));
        for (kib, before) in memory.into_iter().zip(memory_before) {
            assert!(kib <= before + MAX_GROWTH, "{before} KiB have become {kib}");
        }
    });
    assert!(sets.load(Ordering::Relaxed) > 0);
    assert_eq!(count(&azure, Endpoint::Imds), 1);
    let switches = || {
        sidecar.until_asleep();
        sidecar.status("voluntary_ctxt_switches")
    };
    let before = switches();
    // A wake-up is what must not happen, and no event tells that it has not.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(switches(), before, "it has woken up");
    sidecar.stop();
}

#[test]
fn thirty_rounds_leave_no_trace_and_no_mixed_set() {
    many_rounds(30);
}

#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn five_hundred_rounds_leave_no_trace_and_no_mixed_set() {
    many_rounds(500);
}

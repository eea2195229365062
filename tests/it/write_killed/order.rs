//! The order of `fsync` and `rename`: a file that is not synced before its rename may be empty after a power failure.

use std::collections::BTreeSet;

use super::calls::Call;
use super::scenario::Scenario;
use super::volume::Layout;

/// The calls of a run until it cleans up, each as its words.
fn calls(scenario: Scenario) -> Vec<Vec<String>> {
    let calls = scenario.set_up().calls;
    let words = |call: &Call| call.text.split(' ').map(str::to_owned).collect();
    // The first removal is of a temporary name: by then all is done.
    let all = calls.iter().take_while(|call| call.name() != "unlinkat");
    all.map(words).collect()
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    let layouts = [Layout::Plain, Layout::Atomic].into_iter();
    layouts.flat_map(|layout| [Scenario::of(layout), Scenario::kept(layout)])
}

#[test]
fn file_is_synced_before_its_rename() {
    for scenario in scenarios() {
        let calls = calls(scenario);
        for (at, call) in calls.iter().enumerate() {
            if call[0] == "create" {
                let path = call[1].as_str();
                let then: Vec<&str> = calls[at + 1..]
                    .iter()
                    .take_while(|call| call.get(1).is_some_and(|other| other == path))
                    .map(|call| call[0].as_str())
                    .take(4)
                    .collect();
                assert_eq!(
                    then,
                    ["fchmod", "fstat", "write", "fsync"],
                    "{scenario}: {path}"
                );
            }
        }
    }
}

#[test]
fn changed_directory_is_synced() {
    for scenario in scenarios() {
        let mut waiting = BTreeSet::new();
        for call in calls(scenario) {
            match call[0].as_str() {
                "create" | "linkat" | "mkdirat" | "renameat" | "symlinkat" => {
                    let path = call.last().expect("it has a path");
                    waiting.insert(directory_of(path).to_owned());
                }
                "fsync" => {
                    waiting.remove(call.get(1).map_or("", String::as_str));
                }
                _ => {}
            }
        }
        assert_eq!(waiting, BTreeSet::new(), "{scenario}");
    }
}

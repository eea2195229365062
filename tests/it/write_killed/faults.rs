//! Calls that fail: one alone, at each place, and from some place on all that need room, or all that change anything.
//! What was done is taken back, but for a few calls that can be done without.

use nix::errno::Errno;

use super::calls::Call;
use super::scenario::{Scenario, note, on_two_threads};
use super::tracer::{Stop, Then, watch};
use super::volume::{self, Layout, NEW, copy, exactly, left_over, quiet, read_set};
use crate::support::Outcome;
use crate::support_files::MANIFEST;

/// What becomes of a run in which one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing: it was done in another way.
    Done,
    /// It was done, with a warning that two runs at once are on their own.
    DoneUnlocked,
    /// It was done, and something that is of no use may be left for the next run.
    LeftOver,
    /// It was taken back.
    TakenBack,
}

/// What should become of it. Nothing but what is listed here may fail without an error.
fn fate(calls: &[Call], index: usize) -> Fate {
    let call = &calls[index];
    let (before, after) = (&calls[..index], &calls[index + 1..]);
    let next_is = |name| after.first().is_some_and(|call| call.name() == name);
    let last_is = |text| before.last().is_some_and(|call| call.text == text);
    // When all is on the disk, only what is of no use has to go.
    let cleaning = !calls[index..].iter().any(|call| call.name() == "fsync");
    let reads = |call: &Call| READING.contains(&call.name()) && is_named(path_of(call));
    let comparing = calls[..=index].iter().any(reads) && calls[index..].iter().any(reads);
    // Between two parts of a list of DIR each name is looked at: whether it is a link that must go.
    let lists = |call: &&Call| call.name() != "fstatat" && call.name() != "readlinkat";
    let listing = before.iter().rfind(lists).map(|call| call.text.as_str()) == Some("getdents64")
        && after.iter().find(lists).map(|call| call.text.as_str()) == Some("getdents64");
    match call.name() {
        _ if cleaning => Fate::LeftOver,
        "fstatat" | "readlinkat" if listing => Fate::LeftOver,
        // File systems without locks.
        "flock" => Fate::DoneUnlocked,
        "openat" if next_is("flock") => Fate::DoneUnlocked,
        // A file that cannot be read is not what it should be, and is written anew.
        "openat" | "openat2" | "fstat" | "fstatfs" | "read" if comparing => Fate::Done,
        // A manifest that cannot be read says nothing.
        name if READING.contains(&name) && path_of(call) == MANIFEST => Fate::Done,
        "fstatat" if path_of(call) == MANIFEST && last_is("openat ..akv-init.json") => Fate::Done,
        // File systems without hard links: a file is copied, a link made anew.
        "linkat" => Fate::Done,
        _ => Fate::TakenBack,
    }
}

/// How a file is read.
const READING: [&str; 3] = ["openat", "fstat", "read"];

fn path_of(call: &Call) -> &str {
    call.text.split(' ').nth(1).unwrap_or_default()
}

fn is_named(path: &str) -> bool {
    let path = path.strip_prefix("..akv-init-*/").unwrap_or(path);
    NEW.iter().any(|(name, _)| *name == path)
}

fn each_call_fails_once(scenario: Scenario, least: usize) {
    let stage = scenario.set_up();
    let points = stage.calls.len();
    on_two_threads(points, |index| {
        let context = format!("{scenario}: call {index}, {}", stage.calls[index].text);
        let volume = copy(&stage.template);
        let before = exactly(&volume);
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            match call.index == Some(index) && call.stop == Stop::Before {
                true => Then::Fail(Errno::EIO),
                false => Then::GoOn,
            }
        });
        let said = volume.without_warning(&outcome.stderr);
        match fate(&stage.calls, index) {
            Fate::TakenBack => {
                assert_eq!(said.lines().count(), 1, "{context}: {said}");
                let failure = outcome.failure(73, "cannot create");
                failure.names(&format!("`{}", volume.word())).unhinted();
                assert_eq!(exactly(&volume), before, "{context}");
                return;
            }
            Fate::Done => quiet(&volume, &outcome, &context),
            Fate::DoneUnlocked => warned(&outcome, &said, &context),
            Fate::LeftOver => {
                let warnings = outcome.lines_of("warning").len() == outcome.json_lines().len();
                assert!(outcome.code == Some(0) && warnings, "{context}: {said}");
                let left = left_over(&volume);
                // Where it is not known what is in force, nothing is removed.
                let known = path_of(&stage.calls[index]) != "..data";
                assert!(
                    left.is_empty() || !known || !said.is_empty(),
                    "{context}: {left:?}"
                );
                scenario.whole(&volume, &context);
                stage.kept_only_what_is_so(scenario, &volume, &context);
                scenario.next_run_completes(&stage.azure, &volume, &context);
            }
        }
        scenario.complete(&volume, &context);
        stage.kept_only_what_is_so(scenario, &volume, &context);
    });
    note(&format!("{scenario}: {points} calls failed"));
    assert!(points >= least, "only {points} points");
}

/// Asserts success with one warning.
fn warned(outcome: &Outcome, said: &str, context: &str) {
    assert_eq!(outcome.code, Some(0), "{context}: {said}");
    let warnings = outcome.lines_of("warning").len() == outcome.json_lines().len();
    assert!(warnings && said.lines().count() == 1, "{context}: {said}");
}

/// From each call on, those that `fails` names fail.
fn all_fail_from_each_call_on(layout: Layout, errno: Errno, fails: impl Fn(&Call) -> bool + Sync) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let points: Vec<usize> = (0..stage.calls.len())
        .filter(|index| fails(&stage.calls[*index]))
        .collect();
    on_two_threads(points.len(), |point| {
        let first = points[point];
        let context = format!("{errno}: from call {first}, {}", stage.calls[first].text);
        let volume = copy(&stage.template);
        let before = exactly(&volume);
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            let late = call.index.is_some_and(|index| index >= first);
            match late && call.stop == Stop::Before && fails(call) {
                true => Then::Fail(errno),
                false => Then::GoOn,
            }
        });
        scenario.whole(&volume, &context);
        stage.kept_only_what_is_so(scenario, &volume, &context);
        let said = volume.without_warning(&outcome.stderr);
        if outcome.code == Some(0) {
            let contents = read_set(&volume, "", NEW.iter().map(|(name, _)| *name));
            assert_eq!(contents, volume::contents(NEW), "{context}: {said}");
        } else {
            assert_eq!(outcome.code, Some(73), "{context}: {said}");
            let mut after = exactly(&volume);
            let left = left_over(&volume);
            after.retain(|path, _| !left.iter().any(|name| path.starts_with(name)));
            // A second failure means that the first one could not be rolled back.
            if said.matches(errno.desc()).count() == 1 {
                assert_eq!(after, before, "{context}: {said}");
                let unsaid = left.iter().find(|name| !said.contains(*name));
                assert_eq!(unsaid, None, "{context}: {said}");
            }
        }
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
    note(&format!(
        "{layout:?}: {errno} from {} calls on",
        points.len()
    ));
    assert!(points.len() >= 20, "only {} points", points.len());
}

/// As on a full disk.
fn needs_room(call: &Call) -> bool {
    const NAMES: [&str; 7] = [
        "create",
        "fsync",
        "linkat",
        "mkdirat",
        "renameat",
        "symlinkat",
        "write",
    ];
    NAMES.contains(&call.name())
}

/// As on a file system that has become read-only, which is what happens to one with errors.
fn changes(call: &Call) -> bool {
    call.changes() || call.name() == "fsync"
}

#[test]
fn plain_files_are_as_they_were_whichever_call_fails() {
    each_call_fails_once(Scenario::kept(Layout::Plain), 80);
}

#[test]
fn an_atomic_set_is_as_it_was_whichever_call_fails() {
    each_call_fails_once(Scenario::kept(Layout::Atomic), 110);
}

/// With directories that are made, and taken away again.
#[test]
fn where_nothing_was_there_is_nothing_whichever_call_fails() {
    for layout in [Layout::Plain, Layout::Atomic] {
        let scenario = Scenario {
            before: &[],
            ..Scenario::kept(layout)
        };
        each_call_fails_once(scenario, 70);
    }
}

/// All files are as they should be, and only when they were seen to be is new.
#[test]
fn what_stays_as_it_is_stays_whichever_call_fails() {
    for layout in [Layout::Plain, Layout::Atomic] {
        let scenario = Scenario {
            before: NEW,
            ..Scenario::kept(layout)
        };
        each_call_fails_once(scenario, 50);
    }
}

#[test]
fn what_no_manifest_is_asked_for_is_not_kept_whichever_call_fails() {
    let scenario = Scenario {
        kept: true,
        ..Scenario::of(Layout::Plain)
    };
    each_call_fails_once(scenario, 70);
}

#[test]
fn files_are_whole_on_a_disk_that_becomes_full() {
    all_fail_from_each_call_on(Layout::Plain, Errno::ENOSPC, needs_room);
}

#[test]
fn a_set_is_whole_on_a_disk_that_becomes_full() {
    all_fail_from_each_call_on(Layout::Atomic, Errno::ENOSPC, needs_room);
}

#[test]
fn files_are_whole_on_a_disk_that_becomes_read_only() {
    all_fail_from_each_call_on(Layout::Plain, Errno::EROFS, changes);
}

#[test]
fn a_set_is_whole_on_a_disk_that_becomes_read_only() {
    all_fail_from_each_call_on(Layout::Atomic, Errno::EROFS, changes);
}

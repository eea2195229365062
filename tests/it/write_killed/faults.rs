//! Calls that fail: one call, or from one call on all that need space, or all that change the volume. What was done is
//! rolled back, except where the call is not essential.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::errno::Errno;

use super::calls::Call;
use super::scenario::Scenario;
use super::tracer::{Stop, Then, watch};
use super::volume::{self, Layout, NEW, copy, exactly, left_over, quiet, read_set};
use crate::support::{Outcome, Run};
use crate::support_files::MANIFEST;
use crate::support_points::{Points, at_points};

/// How a run ends in which one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It succeeded by another call.
    Done,
    /// It succeeded without the lock, with a warning.
    DoneUnlocked,
    /// It succeeded, and a temporary name may be left for the next run.
    LeftOver,
    /// It failed and was rolled back.
    RolledBack,
}

/// How it should end. Only the calls that are listed here may fail without an error.
fn fate(calls: &[Call], index: usize) -> Fate {
    let call = &calls[index];
    let (before, after) = (&calls[..index], &calls[index + 1..]);
    let last_is = |text| before.last().is_some_and(|call| call.text == text);
    // When all is synced, only temporary names are left to remove.
    let cleaning = !calls[index..].iter().any(|call| call.name() == "fsync");
    let reads = |call: &Call| READING.contains(&call.name()) && is_named(path_of(call));
    // Files are read before the first change and, in the plain layout, when all are in place.
    let start = before.iter().rposition(Call::changes);
    let start = start.map_or(0, |last| last + 1);
    let unchanging = || calls[start..].iter().take_while(|call| !call.changes());
    // The directory of the first file is opened before it.
    let mut near = before[start..].iter().chain([call]).chain(after.first());
    let comparing = unchanging().any(|call| call.name() == "openat" && reads(call))
        && near.any(reads)
        && unchanging().skip(index - start).any(reads);
    // Between two parts of a listing of DIR each name is inspected: whether it is a link to remove.
    let lists = |call: &&Call| call.name() != "fstatat" && call.name() != "readlinkat";
    let listing = before.iter().rfind(lists).map(|call| call.text.as_str()) == Some("getdents64")
        && after.iter().find(lists).map(|call| call.text.as_str()) == Some("getdents64");
    match call.name() {
        _ if cleaning => Fate::LeftOver,
        "fstatat" | "readlinkat" if listing => Fate::LeftOver,
        // File systems without locks.
        "flock" => Fate::DoneUnlocked,
        // A file that cannot be read is written again.
        "openat" | "fstat" | "read" if comparing => Fate::Done,
        // A manifest that cannot be read is ignored.
        name if READING.contains(&name) && path_of(call) == MANIFEST => Fate::Done,
        "fstatat" if path_of(call) == MANIFEST && last_is("openat ..akv-init.json") => Fate::Done,
        // File systems without hard links: only rolling back needs one.
        "linkat" => Fate::Done,
        _ => Fate::RolledBack,
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

fn one_call_fails(scenario: Scenario, least: usize, points: Points) {
    let stage = scenario.set_up();
    let indexes: Vec<usize> = (0..stage.calls.len()).collect();
    points.visit(&indexes, least, |&index| {
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
        let stderr = volume.without_warning(&outcome.stderr);
        match fate(&stage.calls, index) {
            Fate::RolledBack => {
                assert_eq!(stderr.lines().count(), 1, "{context}: {stderr}");
                let failure = outcome.failure(73, "cannot create");
                failure.names(&format!("`{}", volume.word())).unhinted();
                assert_eq!(exactly(&volume), before, "{context}");
                return;
            }
            Fate::Done => quiet(&volume, &outcome, &context),
            Fate::DoneUnlocked => warned(&outcome, &stderr, &context),
            Fate::LeftOver => {
                let warnings = outcome.lines_of("warning").len() == outcome.json_lines().len();
                assert!(outcome.code == Some(0) && warnings, "{context}: {stderr}");
                let left = left_over(&volume);
                // While the current set is unknown, nothing is removed.
                let known = path_of(&stage.calls[index]) != "..data";
                assert!(
                    left.is_empty() || !known || !stderr.is_empty(),
                    "{context}: {left:?}"
                );
                scenario.whole(&volume, &context);
                stage.keeps_only_right_values(scenario, &volume, &context);
                scenario.next_run_completes(&stage.azure, &volume, &context);
            }
        }
        scenario.complete(&volume, &context);
        stage.keeps_only_right_values(scenario, &volume, &context);
    });
}

/// Asserts success with one warning.
fn warned(outcome: &Outcome, stderr: &str, context: &str) {
    assert_eq!(outcome.code, Some(0), "{context}: {stderr}");
    let warnings = outcome.lines_of("warning").len() == outcome.json_lines().len();
    assert!(
        warnings && stderr.lines().count() == 1,
        "{context}: {stderr}"
    );
}

/// From these calls on, all that `fails` selects fail.
fn all_calls_fail(layout: Layout, errno: Errno, fails: fn(&Call) -> bool, points: Points) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let indexes = 0..stage.calls.len();
    let indexes: Vec<usize> = indexes
        .filter(|index| fails(&stage.calls[*index]))
        .collect();
    points.visit(&indexes, 20, |&first| {
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
        stage.keeps_only_right_values(scenario, &volume, &context);
        let stderr = volume.without_warning(&outcome.stderr);
        if outcome.code == Some(0) {
            let contents = read_set(&volume, "", NEW.iter().map(|(name, _)| *name));
            assert_eq!(contents, volume::contents(NEW), "{context}: {stderr}");
        } else {
            assert_eq!(outcome.code, Some(73), "{context}: {stderr}");
            let mut after = exactly(&volume);
            let left = left_over(&volume);
            after.retain(|path, _| !left.iter().any(|name| path.starts_with(name)));
            // A second failure means that the first one could not be rolled back.
            if stderr.matches(errno.desc()).count() == 1 {
                assert_eq!(after, before, "{context}: {stderr}");
                let unnamed = left.iter().find(|name| !stderr.contains(*name));
                assert_eq!(unnamed, None, "{context}: {stderr}");
            }
        }
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
}

/// Some calls are best effort; the error of the others names what the share has to have.
#[test]
fn calls_that_a_share_refuses() {
    for (layout, name, errno, hint) in [
        (Layout::Plain, "fsync", Errno::EINVAL, None),
        (Layout::Atomic, "fsync", Errno::EINVAL, None),
        (Layout::Atomic, "fsync", Errno::ENOSYS, None),
        (
            Layout::Atomic,
            "symlinkat",
            Errno::ENOSYS,
            Some("--layout plain"),
        ),
    ] {
        let context = format!("{name}: {errno}");
        let scenario = Scenario::kept(layout);
        let stage = scenario.set_up();
        let volume = copy(&stage.template);
        let before = exactly(&volume);
        let run = scenario.run(&stage.azure, &volume);
        let mut failed = 0;
        let outcome = watch(run, &volume.dir(), |call| {
            match call.index.is_some() && call.stop == Stop::Before && call.name() == name {
                true => {
                    failed += 1;
                    Then::Fail(errno)
                }
                false => Then::GoOn,
            }
        });
        assert_ne!(failed, 0, "{context}");
        match hint {
            Some(hint) => {
                outcome.failure(73, "cannot create").hint_names(hint);
                assert_eq!(exactly(&volume), before, "{context}");
            }
            None => {
                quiet(&volume, &outcome, &context);
                scenario.complete(&volume, &context);
            }
        }
    }
}

/// As on a share that ignores or refuses chmod: files get what `open` gives them, which is more than 0440.
#[test]
fn mode_that_a_share_gives() {
    // The first one stands for success: the call is ignored.
    for errno in [Errno::UnknownErrno, Errno::EPERM, Errno::EOPNOTSUPP] {
        for layout in [Layout::Plain, Layout::Atomic] {
            let scenario = Scenario {
                before: &[],
                ..Scenario::kept(layout)
            };
            let (azure, volume) = (volume::azure(), volume::place());
            let run = |changes: &dyn Fn(Run) -> Run| {
                let mut calls = Vec::new();
                let run = changes(scenario.run(&azure, &volume));
                let outcome = watch(run, &volume.dir(), |call| {
                    if call.index.is_none() || call.stop == Stop::After {
                        return Then::GoOn;
                    }
                    calls.push(call.name().to_owned());
                    match call.name() {
                        "fchmod" => Then::Fail(errno),
                        _ => Then::GoOn,
                    }
                });
                (outcome, calls)
            };
            let context = format!("{errno}, {layout:?}");

            let (outcome, calls) = run(&|run| run);
            let failure = outcome.failure(73, "cannot create");
            failure.names("0600").names("0440");
            failure
                .hint_names("file_mode=0440")
                .hint_names("--allow-loose-mode");
            assert!(!calls.contains(&"write".to_owned()), "{context}: {calls:?}");
            assert!(exactly(&volume).is_empty(), "{context}");

            let allowed = |run: Run| run.env("AKV_INIT_ALLOW_LOOSE_MODE", "1");
            let (outcome, _) = run(&allowed);
            warned(&outcome, &volume.without_warning(&outcome.stderr), &context);
            for (name, secret) in NEW {
                let value = volume::value_of(secret);
                assert_eq!(volume.read(name), value.as_bytes(), "{context}");
            }

            // All of it is still right, and may be kept.
            let before = exactly(&volume);
            let files = |name: &&String| matches!(name.as_str(), "renameat" | "linkat");
            let (outcome, calls) = run(&allowed);
            warned(&outcome, &volume.without_warning(&outcome.stderr), &context);
            // At most the manifest, which has a new time.
            assert!(calls.iter().filter(files).count() <= 3, "{context}");
            let unchanged = |found: &BTreeMap<PathBuf, String>| {
                let mut found = found.clone();
                found.retain(|path, _| !path.ends_with(MANIFEST));
                found
            };
            assert_eq!(
                unchanged(&exactly(&volume)),
                unchanged(&before),
                "{context}"
            );
            let (outcome, _) = run(&|run| {
                let run = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
                allowed(run.env("AKV_INIT_TIMEOUT", "0"))
            });
            assert_eq!(outcome.code, Some(0), "{context}: {}", outcome.stderr);
            // Without the permission to do so it is refused again.
            let (outcome, _) = run(&|run| run);
            outcome.failure(73, "cannot create");
            assert_eq!(
                unchanged(&exactly(&volume)),
                unchanged(&before),
                "{context}"
            );
        }
    }
}

/// As on a share that ignores case: the second of two names is there already.
#[test]
fn names_that_a_share_does_not_distinguish() {
    const FILES: &volume::Set = &[("A", "new-1"), ("stays", "same"), ("a", "new-2")];
    for (layout, before) in [
        (Layout::Plain, &FILES[..0]),
        (Layout::Plain, &FILES[..2]),
        (Layout::Atomic, &FILES[..0]),
        (Layout::Atomic, &FILES[..2]),
    ] {
        let context = format!("{layout:?}, {before:?}");
        let (azure, volume) = (volume::azure(), volume::place());
        if !before.is_empty() {
            let run = volume::write(&azure, &volume, layout, before, true);
            quiet(&volume, &run.outcome(), &context);
        }
        let found = exactly(&volume);
        let mut created = false;
        let run = volume::write(&azure, &volume, layout, FILES, true);
        let outcome = watch(run, &volume.dir(), |call| {
            let is_second = call.name() == "mkdirat" && path_of(call).ends_with("/a");
            created |= call.name() == "create";
            match is_second && call.stop == Stop::Before {
                true => Then::Fail(Errno::EEXIST),
                false => Then::GoOn,
            }
        });
        let failure = outcome.failure(73, "cannot create");
        failure.names("/a`").names("`A`").hinted();
        assert_eq!((exactly(&volume), created), (found, false), "{context}");
        // Elsewhere, they are two files.
        let run = volume::write(&azure, &volume, layout, FILES, true);
        quiet(&volume, &run.outcome(), &context);
        assert_eq!(
            read_set(&volume, "", FILES.iter().map(|(name, _)| *name)),
            volume::contents(FILES),
            "{context}"
        );
    }
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

/// With directories that are made, and removed again.
fn on_an_empty_volume(layout: Layout, points: Points) {
    let scenario = Scenario {
        before: &[],
        ..Scenario::kept(layout)
    };
    one_call_fails(scenario, 70, points);
}

/// All files are right; only the time of the verification is new.
fn on_unchanged_files(layout: Layout, points: Points) {
    let scenario = Scenario {
        before: NEW,
        ..Scenario::kept(layout)
    };
    one_call_fails(scenario, 50, points);
}

const WITHOUT_MANIFEST: Scenario = Scenario {
    kept: true,
    ..Scenario::of(Layout::Plain)
};

at_points! {
    plain_files_are_unchanged_if_a_call_fails: |points| one_call_fails(Scenario::kept(Layout::Plain), 80, points);
    atomic_set_is_unchanged_if_a_call_fails: |points| one_call_fails(Scenario::kept(Layout::Atomic), 110, points);
    empty_plain_volume_is_unchanged_if_a_call_fails: |points| on_an_empty_volume(Layout::Plain, points);
    empty_atomic_volume_is_unchanged_if_a_call_fails: |points| on_an_empty_volume(Layout::Atomic, points);
    right_plain_files_are_unchanged_if_a_call_fails: |points| on_unchanged_files(Layout::Plain, points);
    right_atomic_set_is_unchanged_if_a_call_fails: |points| on_unchanged_files(Layout::Atomic, points);
    manifest_without_keep_existing_is_right_if_a_call_fails: |points| one_call_fails(WITHOUT_MANIFEST, 70, points);
    plain_files_are_complete_on_a_full_disk: |points| all_calls_fail(Layout::Plain, Errno::ENOSPC, needs_room, points);
    atomic_set_is_complete_on_a_full_disk: |points| all_calls_fail(Layout::Atomic, Errno::ENOSPC, needs_room, points);
    plain_files_are_complete_on_a_read_only_disk: |points| all_calls_fail(Layout::Plain, Errno::EROFS, changes, points);
    atomic_set_is_complete_on_a_read_only_disk: |points| all_calls_fail(Layout::Atomic, Errno::EROFS, changes, points);
}

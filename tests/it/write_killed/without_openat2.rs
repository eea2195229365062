//! Without `openat2`, which kernels before 5.6 lack and sandboxes refuse: the same files and the same errors.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;

use super::calls::Call;
use super::scenario::Scenario;
use super::swapped::swapped;
use super::tracer::{Stop, Then, watch};
use super::volume::{self, Layout, NEW, copy, quiet, write};
use crate::azure::Endpoint;
use crate::support::Failure;
use crate::support_files::{Place, change_mode};
use crate::support_points::at_points;

/// The errors of `openat2`; none where it works.
const RESULTS: [Option<Errno>; 3] = [None, Some(Errno::ENOSYS), Some(Errno::EPERM)];

fn without_openat2(call: &Call, errno: Errno) -> Then {
    match call.name() == "openat2" && call.stop == Stop::Before {
        true => Then::Fail(errno),
        false => Then::GoOn,
    }
}

#[test]
fn nested_files_are_written() {
    for layout in [Layout::Plain, Layout::Atomic] {
        let scenario = Scenario::kept(layout);
        let stage = scenario.set_up();
        for errno in RESULTS.into_iter().flatten() {
            let volume = copy(&stage.template);
            let failed = Cell::new(0);
            let run = scenario.run(&stage.azure, &volume);
            let outcome = watch(run, &volume.dir(), |call| {
                if call.name() == "openat2" && call.stop == Stop::After {
                    assert_eq!(call.result, -i64::from(errno as i32));
                    failed.set(failed.get() + 1);
                }
                without_openat2(call, errno)
            });
            let context = format!("{layout:?}, {errno}");
            quiet(&volume, &outcome, &context);
            scenario.complete(&volume, &context);
            assert!(failed.get() >= 5, "{context}: {} calls", failed.get());
        }
    }
}

/// The error of a run that finds this, with and without `openat2`, and if it is planted before the run or after the
/// first look at the volume. All are asserted to be the same.
fn refused(layout: Layout, plant: impl Fn(&Place)) -> (Place, Failure) {
    let azure = volume::azure();
    let mut failures: Vec<Failure> = Vec::new();
    let volume = volume::place();
    for early in [true, false] {
        for errno in RESULTS {
            fs::remove_dir_all(volume.dir()).expect("it is ours");
            fs::create_dir(volume.dir()).expect("its name is free");
            if early {
                plant(&volume);
            }
            let failed = Cell::new(0);
            let run = write(&azure, &volume, layout, NEW, false);
            let outcome = watch(run, &volume.dir(), |call| {
                if !early && call.index == Some(0) && call.stop == Stop::Before {
                    plant(&volume);
                }
                let Some(errno) = errno else {
                    return Then::GoOn;
                };
                if call.name() == "openat2" && call.result == -i64::from(errno as i32) {
                    failed.set(failed.get() + 1);
                }
                without_openat2(call, errno)
            });
            let context = format!("{errno:?}: {outcome:?}");
            assert_eq!(failed.get() > 0, errno.is_some(), "{context}");
            failures.push(outcome.failure(73, "cannot create"));
            // What was planted before the run is found before the fetch.
            assert_eq!(
                azure.requests_at(Endpoint::Vault).is_empty(),
                early,
                "{context}"
            );
        }
    }
    failures.dedup_by_key(|failure| failure.line.to_string());
    assert_eq!(failures.len(), 1, "{failures:?}");
    (volume, failures.remove(0))
}

fn is_empty(directory: &Path) -> bool {
    let mut entries = fs::read_dir(directory).expect("it is there");
    entries.next().is_none()
}

/// Asserts that the error names this path and has a hint.
#[track_caller]
fn names_the_link(failure: &Failure, path: &Path) {
    failure.names(&format!("`{}`", path.display())).hinted();
}

#[test]
fn link_in_place_of_a_directory_is_refused() {
    let (volume, failure) = refused(Layout::Plain, |volume| {
        fs::create_dir_all(volume.beside("outside/e")).expect("it can be made");
        symlink(volume.beside("outside"), volume.path("d")).expect("its name is free");
    });
    names_the_link(&failure, &volume.path("d"));
    assert!(is_empty(&volume.beside("outside/e")));
}

#[test]
fn link_that_leads_up_or_dangles_is_refused() {
    for target in ["..", "../..", "nowhere", "."] {
        let (volume, failure) = refused(Layout::Plain, |volume| {
            fs::create_dir(volume.path("d")).expect("its name is free");
            change_mode(&volume.path("d"), 0o755);
            symlink(target, volume.path("d/e")).expect("its name is free");
        });
        names_the_link(&failure, &volume.path("d/e"));
        assert_eq!(
            volume.tree(),
            ["d/ 0755".to_owned(), format!("d/e -> {target}")]
        );
    }
}

#[test]
fn data_directory_that_is_a_link_is_refused() {
    let name = "..akv-init-0123456789abcdef";
    let (volume, failure) = refused(Layout::Atomic, |volume| {
        fs::create_dir_all(volume.beside("outside")).expect("it can be made");
        symlink("../outside", volume.path(name)).expect("its name is free");
        symlink(name, volume.path("..data")).expect("its name is free");
    });
    names_the_link(&failure, &volume.path(name));
    assert!(is_empty(&volume.beside("outside")));
}

at_points! {
    directory_that_becomes_a_link_is_not_followed: |points| {
        swapped(points, |call| without_openat2(call, Errno::ENOSYS));
    };
}

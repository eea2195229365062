//! Another program that shares the volume replaces a directory by a symbolic link at any moment: nothing is written or
//! removed at the link's target.

use std::fs;
use std::os::unix::fs::symlink;

use super::scenario::Scenario;
use super::tracer::{Stop, Then, watch};
use super::volume::{self, Layout, copy, exactly};
use crate::support_files::Place;
use crate::support_points::{Points, at_points};

/// Replaces a directory by a link to one outside.
fn swap(volume: &Place, name: &str, outside: &Place) {
    fs::rename(volume.path(name), volume.beside("away")).expect("it is there");
    symlink(outside.dir(), volume.path(name)).expect("its name is free");
}

/// Replaces `d` at these calls of a run over the old set.
fn swapped(points: Points) {
    let scenario = Scenario::kept(Layout::Plain);
    let stage = scenario.set_up();
    let indexes: Vec<usize> = (0..stage.calls.len()).collect();
    points.visit(&indexes, 70, |&index| {
        let context = format!("at call {index}, {}", stage.calls[index].text);
        let outside = volume::place();
        fs::create_dir(outside.path("e")).expect("it is new");
        fs::write(outside.path("e/f"), "of another program").expect("it is new");
        let before = exactly(&outside);
        let volume = copy(&stage.template);
        let mut done = false;
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            if call.index == Some(index) && call.stop == Stop::Before {
                swap(&volume, "d", &outside);
                done = true;
            }
            Then::GoOn
        });
        assert!(done, "{context}");
        assert_eq!(exactly(&outside), before, "{context}");
        match outcome.code {
            // `d` was no longer used.
            Some(0) => volume.quiet(&outcome),
            Some(73) => {
                let failure = outcome.failure(73, "cannot create");
                failure.names(&format!("`{}", volume.path("d").display()));
            }
            code => panic!("{context}: {code:?}: {}", outcome.stderr),
        }
    });
}

at_points! {
    directory_that_becomes_a_link_is_not_followed: swapped;
}

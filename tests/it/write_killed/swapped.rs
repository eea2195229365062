//! Somebody who shares the volume puts a symbolic link in the place of a directory, at any moment: nothing is written,
//! and nothing removed, where it leads.

use std::fs;
use std::os::unix::fs::symlink;

use super::calls::Call;
use super::scenario::{Scenario, note, on_two_threads};
use super::tracer::{Stop, Then, watch};
use super::volume::{self, Layout, copy, exactly};
use crate::support_files::Place;

/// Puts a link to a directory outside in the place of one inside.
fn swap(volume: &Place, name: &str, outside: &Place) {
    fs::rename(volume.path(name), volume.beside("away")).expect("it is there");
    symlink(outside.dir(), volume.path(name)).expect("its name is free");
}

/// Swaps `d` at each call of a run over the old set, which a `then` of its own may disturb in other ways.
pub fn swapped_everywhere(then: impl Fn(&Call) -> Then + Sync) {
    let scenario = Scenario::kept(Layout::Plain);
    let stage = scenario.set_up();
    let points = stage.calls.len();
    on_two_threads(points, |index| {
        let context = format!("at call {index}, {}", stage.calls[index].text);
        let outside = volume::place();
        fs::create_dir(outside.path("e")).expect("it is new");
        fs::write(outside.path("e/f"), "of another program").expect("it is new");
        let before = exactly(&outside);
        let volume = copy(&stage.template);
        let mut swapped = false;
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            // With calls that fail there may be more of them, and never fewer.
            if call.index == Some(index) && call.stop == Stop::Before {
                swap(&volume, "d", &outside);
                swapped = true;
            }
            then(call)
        });
        assert!(swapped, "{context}");
        assert_eq!(exactly(&outside), before, "{context}");
        match outcome.code {
            // All was done with `d` by then, or it was not looked at any more.
            Some(0) => volume.quiet(&outcome),
            Some(73) => {
                let failure = outcome.failure(73, "cannot create");
                failure.names(&format!("`{}", volume.path("d").display()));
            }
            code => panic!("{context}: {code:?}: {}", outcome.stderr),
        }
    });
    note(&format!("a directory swapped at {points} points"));
    assert!(points >= 70, "only {points} points");
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    swapped_everywhere(|_| Then::GoOn);
}

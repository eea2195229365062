//! A run that changes a volume from one set of files to another, and what must hold wherever it ends.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::calls::Call;
use super::tracer::{Stop, Then, watch};
use super::volume::{
    self, Layout, NEW, OLD, Set, age, contents, copy, holds, quiet, read_set, write,
};
use crate::azure::{Azure, Door};
use crate::support::Run;
use crate::support_files::Place;

/// What a run finds, and what it leaves in its place, which is [`NEW`].
#[derive(Clone, Copy)]
pub struct Scenario {
    pub layout: Layout,
    pub before: &'static Set,
    /// Whether what was there before was written with `--keep-existing`.
    pub kept: bool,
    /// Whether the run has it.
    pub keeps: bool,
}

/// The stand-in, a volume to begin with, and every call of a run that nothing happens to.
pub struct Stage {
    pub azure: Azure,
    /// A stand-in that nobody can reach.
    nowhere: Azure,
    pub template: Place,
    pub calls: Vec<Call>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over {} files", self.layout.word(), self.before.len())?;
        f.write_str(match (self.kept, self.keeps) {
            (false, false) => "",
            (false, true) => ", --keep-existing now",
            (true, false) => ", --keep-existing before",
            (true, true) => ", --keep-existing",
        })
    }
}

impl Scenario {
    /// From the old set, without `--keep-existing`.
    pub const fn of(layout: Layout) -> Scenario {
        Scenario {
            layout,
            before: OLD,
            kept: false,
            keeps: false,
        }
    }

    /// The same with it.
    pub const fn kept(layout: Layout) -> Scenario {
        Scenario {
            kept: true,
            keeps: true,
            ..Scenario::of(layout)
        }
    }

    /// Makes all that it needs.
    pub fn set_up(self) -> Stage {
        let azure = volume::azure();
        let template = volume::place();
        if !self.before.is_empty() {
            let run = write(&azure, &template, self.layout, self.before, self.kept);
            quiet(&template, &run.outcome(), "the first run");
            age(&template);
        }
        let volume = copy(&template);
        let mut calls = Vec::new();
        let outcome = watch(self.run(&azure, &volume), &volume.dir(), |call| {
            if call.index.is_some() && call.stop == Stop::Before {
                calls.push(call.clone());
            }
            Then::GoOn
        });
        quiet(&volume, &outcome, "the run that nothing happens to");
        self.complete(&volume, "the run that nothing happens to");
        Stage {
            azure,
            nowhere: Azure::builder().closed(Door::Imds).start(),
            template,
            calls,
        }
    }

    /// The run that is looked at.
    pub fn run(self, azure: &Azure, volume: &Place) -> Run {
        write(azure, volume, self.layout, NEW, self.keeps)
    }

    /// Asserts that the new set is there, with all that comes with it, and nothing else.
    pub fn complete(self, volume: &Place, context: &str) {
        let mut set = NEW.to_vec();
        if self.layout == Layout::Plain {
            let named = |name| NEW.iter().any(|(new, _)| new == name);
            set.extend(self.before.iter().filter(|(name, _)| !named(name)));
        }
        // A manifest that nobody asks for any more stays, and knows of no file that was written since.
        let manifest = self.keeps || (self.kept && self.layout == Layout::Plain);
        holds(volume, self.layout, &set, manifest, context);
    }

    /// Asserts that the next run succeeds, and leaves nothing of what was there.
    pub fn next_run_completes(self, azure: &Azure, volume: &Place, context: &str) {
        quiet(volume, &self.run(azure, volume).outcome(), context);
        self.complete(volume, context);
    }

    /// Asserts that a reader finds what the layout promises: whole files, or a whole set.
    pub fn whole(self, volume: &Place, context: &str) {
        let (old, new) = (contents(self.before), contents(NEW));
        let names = || old.keys().chain(new.keys()).copied();
        let seen = read_set(volume, "", names());
        match self.layout {
            Layout::Atomic => {
                assert_eq!(seen, read_set(volume, "..data", names()), "{context}");
                assert!(seen == old || seen == new, "{context}: {seen:?}");
            }
            Layout::Plain => {
                for name in names() {
                    let it = seen.get(name);
                    // One that is no longer named stays; one that is new may not be there yet.
                    let is_new = new.contains_key(name) && it == new.get(name);
                    assert!(is_new || it == old.get(name), "{context}: {name}: {it:?}");
                }
            }
        }
    }
}

impl Stage {
    /// Asserts that what is kept while Azure cannot be reached is what the references name, if it is kept at all.
    pub fn kept_only_what_is_so(&self, scenario: Scenario, volume: &Place, context: &str) {
        if !scenario.kept && !scenario.keeps {
            return;
        }
        for set in [scenario.before, NEW] {
            if set.is_empty() {
                continue;
            }
            let run = write(&self.azure, volume, scenario.layout, set, true)
                .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.nowhere.imds())
                .env("AKV_INIT_TIMEOUT", "0");
            let outcome = run.outcome();
            if outcome.code == Some(0) {
                let set = contents(set);
                let seen = read_set(volume, "", set.keys().copied());
                assert_eq!(seen, set, "{context}: {}", outcome.stderr);
            } else {
                assert_eq!(outcome.code, Some(69), "{context}: {}", outcome.stderr);
            }
        }
    }
}

/// Calls it with each number below `count`.
pub fn on_two_threads(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work_off = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            work(number);
        }
    };
    thread::scope(|scope| {
        scope.spawn(work_off);
        work_off();
    });
}

/// Seen with `--nocapture`, and when a test fails.
#[expect(
    clippy::print_stdout,
    reason = "a figure of the test, not of the program"
)]
pub fn note(text: &str) {
    println!("{text}");
}

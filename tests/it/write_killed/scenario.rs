//! A run that changes a volume from one set of files to another, and what must hold at whatever call it ends.

use std::fmt;

use super::calls::Call;
use super::tracer::{Stop, Then, watch};
use super::volume::{
    self, Layout, NEW, OLD, Set, age, contents, copy, holds, quiet, read_set, write,
};
use crate::azure::{Azure, Endpoint};
use crate::support::Run;
use crate::support_files::{MANIFEST, Place};

/// What a run finds. It writes [`NEW`].
#[derive(Clone, Copy)]
pub struct Scenario {
    pub layout: Layout,
    pub before: &'static Set,
    /// Whether the files before were written with `--keep-existing`.
    pub kept: bool,
    /// Whether the run has `--keep-existing`.
    pub keeps: bool,
}

/// The fake Azure, the initial volume, and the calls of an undisturbed run.
pub struct Stage {
    pub azure: Azure,
    /// A fake Azure whose identity endpoint is closed.
    closed: Azure,
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

    /// Writes the initial volume and records the calls.
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
        quiet(&volume, &outcome, "the undisturbed run");
        self.complete(&volume, "the undisturbed run");
        Stage {
            azure,
            closed: Azure::builder().closed(Endpoint::Imds).start(),
            template,
            calls,
        }
    }

    /// The run under test.
    pub fn run(self, azure: &Azure, volume: &Place) -> Run {
        write(azure, volume, self.layout, NEW, self.keeps)
    }

    /// Asserts that the new set is there, and nothing else.
    pub fn complete(self, volume: &Place, context: &str) {
        let mut set = NEW.to_vec();
        if self.layout == Layout::Plain {
            let named = |name| NEW.iter().any(|(new, _)| new == name);
            set.extend(self.before.iter().filter(|(name, _)| !named(name)));
        }
        // Without --keep-existing the entries of other files may stay, but for a run that was killed or failed to read
        // them.
        let may_stay = self.kept && self.layout == Layout::Plain;
        let manifest = self.keeps || (may_stay && volume.path(MANIFEST).exists());
        holds(volume, self.layout, &set, manifest, context);
    }

    /// Asserts that the next run succeeds and leaves nothing else.
    pub fn next_run_completes(self, azure: &Azure, volume: &Place, context: &str) {
        quiet(volume, &self.run(azure, volume).outcome(), context);
        self.complete(volume, context);
    }

    /// Asserts what the layout promises to a reader: complete files, or a complete set.
    pub fn whole(self, volume: &Place, context: &str) {
        let (old, new) = (contents(self.before), contents(NEW));
        let names = || old.keys().chain(new.keys()).copied();
        let found = read_set(volume, "", names());
        match self.layout {
            Layout::Atomic => {
                assert_eq!(found, read_set(volume, "..data", names()), "{context}");
                assert!(found == old || found == new, "{context}: {found:?}");
            }
            Layout::Plain => {
                for name in names() {
                    let it = found.get(name);
                    // A file that is no longer named stays; a new one may be absent.
                    let is_new = new.contains_key(name) && it == new.get(name);
                    assert!(is_new || it == old.get(name), "{context}: {name}: {it:?}");
                }
            }
        }
    }
}

impl Stage {
    /// Asserts that files that are kept while Azure is unavailable have the values of their references.
    pub fn keeps_only_right_values(&self, scenario: Scenario, volume: &Place, context: &str) {
        if !scenario.kept && !scenario.keeps {
            return;
        }
        for set in [scenario.before, NEW] {
            if set.is_empty() {
                continue;
            }
            let run = write(&self.azure, volume, scenario.layout, set, true)
                .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.closed.imds())
                .env("AKV_INIT_TIMEOUT", "0");
            let outcome = run.outcome();
            if outcome.code == Some(0) {
                let set = contents(set);
                let found = read_set(volume, "", set.keys().copied());
                assert_eq!(found, set, "{context}: {}", outcome.stderr);
            } else {
                assert_eq!(outcome.code, Some(69), "{context}: {}", outcome.stderr);
            }
        }
    }
}

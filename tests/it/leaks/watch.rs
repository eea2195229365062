//! Looking for what must not be said.

use std::fs;

use crate::azure::Azure;
use crate::support::Outcome;

/// What a run said that must not be said. The real tokens and assertions have no mark in them, so their parts are
/// looked for.
fn leak(azure: &Azure, outcome: &Outcome) -> Option<String> {
    let assertion = fs::read_to_string(azure.token_file()).unwrap();
    let real = azure.tokens();
    let parts = real
        .iter()
        .chain([&assertion])
        .flat_map(|jwt| jwt.split('.').skip(1));
    let mut marks: Vec<&str> = parts.map(|part| &part[..part.len().min(24)]).collect();
    marks.extend(["LEAKof", "s3cr3t"]);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let found = marks
        .into_iter()
        .find(|mark| !mark.is_empty() && said.contains(mark));
    found.map(|mark| format!("`{mark}` in: {said}"))
}

#[track_caller]
pub fn assert_silent(azure: &Azure, outcome: &Outcome) {
    assert_eq!(leak(azure, outcome), None);
}

/// Failures that were looked at, all of them before the test ends: one that leaks must not hide another.
#[derive(Default)]
pub struct Failures {
    seen: usize,
    offences: Vec<String>,
}

impl Failures {
    pub fn look_at(&mut self, azure: &Azure, name: &str, outcome: &Outcome) {
        self.seen += 1;
        let failed = outcome.error().is_some() && !matches!(outcome.code, Some(0 | 70) | None);
        if !failed {
            self.offences.push(format!("{name}: {outcome:?}"));
        }
        if let Some(leak) = leak(azure, outcome) {
            self.offences.push(format!("{name}: {leak}"));
        }
    }

    #[track_caller]
    pub fn end(self) {
        assert!(self.seen > 0);
        let shown = self.offences[..self.offences.len().min(5)].join("\n");
        assert!(
            self.offences.is_empty(),
            "{} of {}:\n{shown}",
            self.offences.len(),
            self.seen
        );
    }
}

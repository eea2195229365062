//! The search for secrets in the output of a run.

use std::fs;

use crate::azure::Azure;
use crate::support::Outcome;

/// A secret in the output of a run. Tokens and assertions of the fake Azure have no mark, so their parts are searched for.
fn leak(azure: &Azure, outcome: &Outcome) -> Option<String> {
    let assertion = fs::read_to_string(azure.token_file()).unwrap();
    let real = azure.tokens();
    let parts = real
        .iter()
        .chain([&assertion])
        .flat_map(|jwt| jwt.split('.').skip(1));
    let mut marks: Vec<&str> = parts.map(|part| &part[..part.len().min(24)]).collect();
    marks.extend(["LEAKof", "s3cr3t"]);
    let output = format!("{}{}", outcome.stdout, outcome.stderr);
    let found = marks
        .into_iter()
        .find(|mark| !mark.is_empty() && output.contains(mark));
    found.map(|mark| format!("`{mark}` in: {output}"))
}

#[track_caller]
pub fn assert_silent(azure: &Azure, outcome: &Outcome) {
    assert_eq!(leak(azure, outcome), None);
}

/// Checks many failures and reports all leaks at the end.
#[derive(Default)]
pub struct Failures {
    count: usize,
    leaks: Vec<String>,
}

impl Failures {
    pub fn check(&mut self, azure: &Azure, name: &str, outcome: &Outcome) {
        self.count += 1;
        let failed = outcome.error().is_some() && !matches!(outcome.code, Some(0 | 70) | None);
        if !failed {
            self.leaks.push(format!("{name}: {outcome:?}"));
        }
        if let Some(leak) = leak(azure, outcome) {
            self.leaks.push(format!("{name}: {leak}"));
        }
    }

    #[track_caller]
    pub fn end(self) {
        assert!(self.count > 0);
        let shown = self.leaks[..self.leaks.len().min(5)].join("\n");
        assert!(
            self.leaks.is_empty(),
            "{} of {}:\n{shown}",
            self.leaks.len(),
            self.count
        );
    }
}

//! Replays the corpora.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::targets::TARGETS;

/// Inputs are examples for a reader, not what a fuzzer piled up.
const MAX_INPUTS: usize = 24;
const MAX_INPUT_SIZE: usize = 8 * 1024;

/// In the product and in the fuzz folder `CARGO_MANIFEST_DIR` differs.
pub fn fuzz_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match root.join("fuzz_targets").is_dir() {
        true => root.to_owned(),
        false => root.join("fuzz"),
    }
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz_folder().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    names
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a failed test prints which input it was"
)]
fn every_input_of_the_corpora_passes() {
    for (target, run) in TARGETS {
        let folder = fuzz_folder().join("corpus").join(target);
        let inputs = fs::read_dir(folder).unwrap();
        let inputs: Vec<PathBuf> = inputs.map(|entry| entry.unwrap().path()).collect();
        assert!((1..=MAX_INPUTS).contains(&inputs.len()), "{target}");
        for path in inputs {
            let input = fs::read(&path).unwrap();
            assert!(input.len() <= MAX_INPUT_SIZE, "{}", path.display());
            println!("{}", path.display());
            run(&input);
            // A fuzzer tries the starts of an input first.
            for end in 0..input.len().min(256) {
                run(&input[..end]);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names_in("fuzz_targets"), targets);
    assert_eq!(names_in("corpus"), targets);
}

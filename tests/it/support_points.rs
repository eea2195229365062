//! Tests that repeat something at many points: a sample of them by default, all of them in CI.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// At which points of a scenario a test does something.
#[derive(Clone, Copy, Debug)]
pub enum Points {
    /// At each one: the tests that CI runs.
    All,
    /// At a few, evenly spread.
    Sample,
}

impl Points {
    /// How many of a sample.
    const SAMPLE: usize = 8;

    /// Calls `work` with the chosen points, on two threads. There must be at least so many points in all.
    pub fn visit<T: Sync>(self, all: &[T], least: usize, work: impl Fn(&T) + Sync) {
        assert!(all.len() >= least, "only {} points", all.len());
        let count = match self {
            Points::All => all.len(),
            Points::Sample => all.len().min(Points::SAMPLE),
        };
        let next = AtomicUsize::new(0);
        let worker = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                work(&all[number * all.len() / count]);
            }
        };
        thread::scope(|scope| {
            scope.spawn(worker);
            worker();
        });
    }
}

/// Two tests of one function of [`Points`]: `sample`, and `all`, which CI runs.
macro_rules! at_points {
    ($($name:ident: $test:expr;)*) => {
        $(
            fn $name(points: $crate::support_points::Points) {
                ($test)(points);
            }

            mod $name {
                use $crate::support_points::Points;

                #[test]
                fn sample() {
                    super::$name(Points::Sample);
                }

                #[test]
                #[ignore = "long: runs in CI with --include-ignored"]
                fn all() {
                    super::$name(Points::All);
                }
            }
        )*
    };
}
pub(crate) use at_points;

//! Two runs of `write` at once on one DIR, repeatedly, and a reader, which finds complete files, and in the atomic layout
//! complete sets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::azure::{Azure, Endpoint};
use crate::support_files::Place;
use crate::support_points::{Points, at_points};
use crate::write_killed::volume::{
    Layout, Set, contents, holds, place, quiet, read_set, value_of, write,
};

const A: &Set = &[
    ("d/e/f", "a-1"),
    ("first", "a-2"),
    ("only-a", "a-3"),
    ("second", "a-4"),
];

const B: &Set = &[
    ("d/e/f", "b-1"),
    ("first", "b-2"),
    ("only-b", "b-3"),
    ("second", "b-4"),
];

/// The names that both sets have.
const SHARED: [&str; 3] = ["d/e/f", "first", "second"];

/// How often the reader has found each set.
#[derive(Default)]
struct Found {
    a: usize,
    b: usize,
}

type Contents = BTreeMap<&'static str, String>;

/// The set that a complete one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    A,
    B,
}

fn shared(set: &Set) -> Contents {
    let mut contents = contents(set);
    contents.retain(|name, _| SHARED.contains(name));
    contents
}

/// Starts both runs repeatedly while `read` reads.
fn together(layout: Layout, points: Points, read: fn(&Place, &mut Found)) {
    let times = match points {
        Points::All => 200,
        Points::Sample => 20,
    };
    let azure = Azure::start();
    for (_, secret) in A.iter().chain(B) {
        azure.secret(secret, &value_of(secret));
    }
    let volume = &place();
    quiet(
        volume,
        &write(&azure, volume, layout, A, true).outcome(),
        "the first run",
    );
    let done = AtomicBool::new(false);
    let mut last = Which::A;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut found = Found::default();
            while !done.load(Ordering::Relaxed) {
                read(volume, &mut found);
            }
            found
        });
        // The reader must end if the test fails.
        let stop = Stop(&done);
        for time in 0..times {
            let sets = if time % 2 == 0 { [A, B] } else { [B, A] };
            let runs = sets.map(|set| write(&azure, volume, layout, set, true).spawn());
            for run in runs {
                quiet(volume, &run.outcome(), &format!("time {time}"));
            }
            last = of_one_run(volume, layout, &format!("time {time}"));
        }
        drop(stop);
        let found = reader.join().expect("the reader found no error");
        assert!(
            found.a > 0 && found.b > 0,
            "{} of A, {} of B",
            found.a,
            found.b
        );
    });
    kept(&azure, volume, layout, last);
}

/// Ends the reader when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asserts that all is of the run that ended last, and there is nothing else.
fn of_one_run(volume: &Place, layout: Layout, context: &str) -> Which {
    let found = read_set(volume, "", SHARED);
    let which = match found == shared(A) {
        true => Which::A,
        false => Which::B,
    };
    let set = if which == Which::A { A } else { B };
    assert_eq!(found, shared(set), "{context}");
    match layout {
        Layout::Atomic => holds(volume, layout, set, true, context),
        Layout::Plain => {
            let temporary = |name: &String| name.starts_with("..akv-init-");
            let left: Vec<String> = volume.names().into_iter().filter(temporary).collect();
            assert_eq!(left, [""; 0], "{context}");
        }
    }
    which
}

/// Asserts that while Azure is unavailable the files of the last run are kept, and the other's are not.
fn kept(azure: &Azure, volume: &Place, layout: Layout, last: Which) {
    let closed = Azure::builder().closed(Endpoint::Imds).start();
    for (which, set) in [(Which::A, A), (Which::B, B)] {
        let outcome = write(azure, volume, layout, set, true)
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", closed.imds())
            .env("AKV_INIT_TIMEOUT", "0")
            .outcome();
        let expected = if which == last { 0 } else { 69 };
        assert_eq!(outcome.code, Some(expected), "{}", outcome.stderr);
    }
}

/// Reads each file that both sets have.
fn read_files(volume: &Place, found: &mut Found) {
    let (a, b) = (shared(A), shared(B));
    for name in SHARED {
        let text = fs::read_to_string(volume.path(name)).expect("a file that is replaced exists");
        let (is_a, is_b) = (text == a[name], text == b[name]);
        assert!(is_a || is_b, "{name}: {text}");
        found.a += usize::from(is_a);
        found.b += usize::from(is_b);
    }
}

/// Opens the current directory, and reads a complete set through it.
fn read_one_set(volume: &Place, found: &mut Found) {
    let current = || fs::read_link(volume.path("..data")).expect("..data always exists");
    let target = current();
    let set = read_below(volume.path("").join(&target));
    // It was replaced meanwhile, so the old one may be incomplete.
    if current() != target {
        return;
    }
    let (is_a, is_b) = (set == contents(A), set == contents(B));
    assert!(is_a || is_b, "{set:?}");
    found.a += usize::from(is_a);
    found.b += usize::from(is_b);
}

fn read_below(directory: PathBuf) -> Contents {
    let mut found = Contents::new();
    let Ok(directory) = File::open(directory) else {
        return found;
    };
    let directory = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    for (name, _) in A.iter().chain(B) {
        if let Ok(text) = fs::read_to_string(directory.join(name)) {
            found.insert(name, text);
        }
    }
    found
}

at_points! {
    plain_files_are_complete_during_two_runs: |points| together(Layout::Plain, points, read_files);
    atomic_set_is_of_one_of_two_runs: |points| together(Layout::Atomic, points, read_one_set);
}

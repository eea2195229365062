//! `--keep-existing`: while Azure is unavailable, the files of an earlier run are kept if they are those that this run
//! would write, as far as that is known without Azure. After a refusal they are never kept.

mod age;
mod changes;
mod manifest;
mod refusals;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Failure, NO_OPTIONS, Run};
use crate::support_files::{MANIFEST, Place, change_mode};
use crate::support_tables::in_parallel;

const LAYOUTS: [&str; 2] = ["plain", "atomic"];

/// The files of an earlier run, whose manifest is of 2000-02-29 12:34:56 UTC.
struct Earlier {
    azure: Azure,
    place: Place,
    layout: &'static str,
}

const LONG_AGO: u64 = 951_827_696;
const LONG_AGO_SHOWN: &str = "2000-02-29 12:34:56 UTC";

impl Earlier {
    /// A run with these words and `--keep-existing`; `alpha` and `beta` are secrets.
    #[track_caller]
    fn run(layout: &'static str, words: &[&str]) -> Earlier {
        let azure = Azure::start();
        azure.secret("alpha", "first");
        azure.secret("beta", "second");
        let place = Place::in_memory();
        let earlier = Earlier {
            azure,
            place,
            layout,
        };
        earlier.wrote(words);
        earlier.written_at(LONG_AGO);
        earlier
    }

    /// One more of them.
    #[track_caller]
    fn wrote(&self, words: &[&str]) {
        self.place.quiet(
            &self
                .again(&[&["--keep-existing"], words].concat())
                .outcome(),
        );
    }

    /// A run with these words, in the same layout.
    fn again(&self, words: &[&str]) -> Run {
        let words = [&["--layout", self.layout], words].concat();
        self.place.write(&self.azure, &words)
    }

    /// The name of the manifest.
    fn manifest(&self) -> String {
        match self.layout {
            "atomic" => format!("..data/{MANIFEST}"),
            _ => MANIFEST.to_owned(),
        }
    }

    fn read_manifest(&self) -> Value {
        serde_json::from_slice(&self.place.read(&self.manifest())).expect("it is JSON")
    }

    fn write_manifest(&self, content: &[u8]) {
        let path = self.place.path(&self.manifest());
        change_mode(&path, 0o640);
        fs::write(&path, content).unwrap();
        change_mode(&path, 0o440);
    }

    /// Sets the time at which all files were written.
    fn written_at(&self, moment: u64) {
        let mut manifest = self.read_manifest();
        for entry in manifest["files"].as_object_mut().unwrap().values_mut() {
            entry["written"] = json!(moment);
        }
        self.write_manifest(manifest.to_string().as_bytes());
    }

    /// Asserts that this run succeeds, changes nothing, and prints one warning that names the reason, DIR and the age of
    /// the files.
    #[track_caller]
    fn keeps(&self, run: Run, reason: &str) {
        let before = self.place.snapshot();
        let outcome = run.json().outcome();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
        let warning = self.place.without_warning(&outcome.stderr);
        assert_eq!(warning.lines().count(), 1, "{warning}");
        for part in ["\"warning\"", reason, &self.place.word(), LONG_AGO_SHOWN] {
            assert!(warning.contains(part), "{part}: {warning}");
        }
        assert_eq!(self.place.snapshot(), before);
    }

    /// Asserts that this run, which needs only `alpha`, for these files, fails because the vault is unavailable and there
    /// are no files to keep; nothing changes.
    #[track_caller]
    fn nothing_to_keep(&self, run: Run, files: &str) {
        let failure = self.unavailable(run, files);
        failure.names(&self.place.word()).omits(LONG_AGO_SHOWN);
    }

    #[track_caller]
    fn unavailable(&self, run: Run, files: &str) -> Failure {
        let before = self.place.snapshot();
        let failure = run.failure(69, "unavailable");
        failure.names("`alpha").fact("for", files).hinted();
        assert_eq!(self.place.snapshot(), before);
        failure
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs()
}

const ONE: [&str; 2] = ["--secret", "a=alpha"];
/// With one attempt each, so that nothing waits for the deadline.
const KEEP: [&str; 3] = ["--keep-existing", "--timeout", "0"];

fn keep(words: &[&'static str]) -> Vec<&'static str> {
    [&KEEP, words].concat()
}

#[test]
fn unreachable_vault_keeps_the_files() {
    type Break = fn(&Azure);
    // The deadline, and a part of the reason.
    let rows: [(&str, Break, &str); 8] = [
        ("0", |azure| azure.close(Endpoint::Vault), ""),
        (
            "0",
            |azure| azure.always(Endpoint::Vault, Response::reset()),
            "",
        ),
        (
            "0",
            |azure| azure.always(Endpoint::Vault, Response::throttled()),
            "429",
        ),
        (
            "0",
            |azure| azure.always(Endpoint::Vault, Response::status(500)),
            "500",
        ),
        (
            "0",
            |azure| azure.always(Endpoint::Vault, Response::akv10046()),
            "401",
        ),
        (
            "1",
            |azure| azure.always(Endpoint::Vault, Response::status(503)),
            "503",
        ),
        (
            "1",
            |azure| azure.always(Endpoint::Vault, Response::usual().hold()),
            "",
        ),
        // Longer than the deadline.
        (
            "30",
            |azure| {
                azure.always(
                    Endpoint::Vault,
                    Response::throttled().header("Retry-After", "31"),
                )
            },
            "429",
        ),
    ];
    let rows = LAYOUTS
        .iter()
        .flat_map(|layout| rows.map(|row| (*layout, row)));
    in_parallel(rows, |(layout, (timeout, break_it, reason))| {
        let earlier = Earlier::run(layout, &ONE);
        break_it(&earlier.azure);
        let words = [
            "--keep-existing",
            "--timeout",
            timeout,
            "--secret",
            "a=alpha",
        ];
        earlier.keeps(earlier.again(&words), reason);
        assert_eq!(earlier.place.read("a"), b"first");
    });
}

#[test]
fn unreachable_identity_endpoint_keeps_the_files() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        let azure = &earlier.azure;
        azure.close(Endpoint::Imds);
        azure.close(Endpoint::Login);
        earlier.keeps(earlier.again(&keep(&ONE)), &azure.imds());
        let federated = earlier
            .again(&keep(&ONE))
            .without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let variables = azure.workload_environment().into_iter();
        let run = variables.fold(federated, |run, (name, value)| run.env(name, value));
        earlier.keeps(run, &azure.login());
    }
}

/// DNS may fail temporarily.
#[test]
fn unknown_name_of_the_vault_keeps_the_files() {
    let earlier = Earlier::run("plain", &ONE);
    let text = String::from_utf8(earlier.place.read(MANIFEST)).unwrap();
    let moved = text.replace(&earlier.azure.vault(), "vault.invalid");
    earlier.write_manifest(moved.as_bytes());
    let run = earlier
        .again(&[
            "--keep-existing",
            "--timeout",
            "0",
            "--secret",
            "a=akv://vault.invalid/alpha",
        ])
        .env("AKV_INIT_ALLOW_VAULT", "vault.invalid");
    earlier.keeps(run, "vault.invalid");
}

#[test]
fn without_an_earlier_run_there_is_nothing_to_keep() {
    for layout in LAYOUTS {
        let azure = Azure::start();
        azure.close(Endpoint::Vault);
        let earlier = Earlier {
            azure,
            place: Place::new(),
            layout,
        };
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
        assert_eq!(earlier.place.tree(), NO_OPTIONS);
        // Files of the same names are not enough.
        earlier.azure.open(Endpoint::Vault);
        earlier.azure.secret("alpha", "first");
        earlier.place.quiet(&earlier.again(&ONE).outcome());
        earlier.azure.close(Endpoint::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
}

#[test]
fn retries_end_at_the_deadline() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.next(Endpoint::Vault, Response::status(503));
    let words = ["--keep-existing", "--timeout", "30", "--secret", "a=alpha"];
    earlier.place.quiet(&earlier.again(&words).outcome());
    // The vault recovers before the deadline.
    earlier.azure.secret("alpha", "new");
    earlier.azure.next(Endpoint::Vault, Response::status(503));
    earlier.place.quiet(&earlier.again(&words).outcome());
    assert_eq!(earlier.place.read("a"), b"new");
    let began = SystemTime::now();
    earlier.azure.always(Endpoint::Vault, Response::status(503));
    let words = ["--keep-existing", "--timeout", "1", "--secret", "a=alpha"];
    assert_eq!(earlier.again(&words).outcome().code, Some(0));
    assert!(began.elapsed().unwrap() < Duration::from_secs(20));
}

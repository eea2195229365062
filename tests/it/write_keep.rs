//! `--keep-existing`: while Azure cannot be reached, the files of an earlier run may do, if they are what this run
//! would have written, as far as that can be known without Azure; and they never may after a refusal.

mod age;
mod changes;
mod manifest;
mod refusals;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::azure::{Answer, Azure, Door};
use crate::network::wire::all_at_once;
use crate::support::Run;
use crate::support_files::{MANIFEST, Place, change_mode};

const LAYOUTS: [&str; 2] = ["plain", "atomic"];

/// What an earlier run has left, and the moment that its manifest tells: 2000-02-29 12:34:56 UTC.
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

    /// Lets every file have been written at this moment.
    fn written_at(&self, moment: u64) {
        let mut manifest = self.read_manifest();
        for entry in manifest["files"].as_object_mut().unwrap().values_mut() {
            entry["written"] = json!(moment);
        }
        self.write_manifest(manifest.to_string().as_bytes());
    }

    /// Asserts that this run says only that it has kept the files, that it has, and why: a warning that starts so.
    #[track_caller]
    fn keeps(&self, run: Run, why: &str) {
        let before = self.place.snapshot();
        let outcome = run.outcome();
        let said = self.place.without_warning(&outcome.stderr);
        let start = format!("akv-init: warning: {why}");
        let end = format!(
            "; kept the files in `{}`, which are of {LONG_AGO_SHOWN}\n",
            self.place.word()
        );
        assert!(
            said.starts_with(&start) && said.ends_with(&end),
            "{start}\n{end}\n{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
        assert_eq!(self.place.snapshot(), before);
    }

    /// Asserts that this run, which wants only `alpha`, for these files, fails for want of the vault and has nothing to
    /// keep; the files are as they were.
    #[track_caller]
    fn nothing_to_keep(&self, run: Run, files: &str) {
        let nothing = format!(
            "and there is nothing to keep: no complete run has written all of these files from these references to \
             `{}`",
            self.place.word()
        );
        self.unavailable(run, files, &nothing);
    }

    #[track_caller]
    fn unavailable(&self, run: Run, files: &str, why: &str) {
        let before = self.place.snapshot();
        let vault = self.azure.vault();
        let outcome = run.outcome();
        self.place.failed(
            &outcome,
            69,
            &[
                &format!(
                    "error: reading secret `alpha` from {vault} for {files}: connection refused; {why}"
                ),
                &format!(
                    "hint: this network does not lead to {vault}: DNS, an egress rule, a route, the private endpoint's \
                     approval, or HTTPS_PROXY"
                ),
            ],
        );
        assert_eq!(self.place.snapshot(), before);
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs()
}

const ONE: [&str; 2] = ["--secret", "a=alpha"];
/// With one try each, so that nothing waits for the deadline.
const KEEP: [&str; 3] = ["--keep-existing", "--timeout", "0"];

fn keep(words: &[&'static str]) -> Vec<&'static str> {
    [&KEEP, words].concat()
}

#[test]
fn while_the_vault_cannot_be_reached_the_files_are_kept() {
    type Trouble = fn(&Azure);
    let troubles: [(&str, Trouble, &str); 8] = [
        ("0", |azure| azure.close(Door::Vault), "connection refused"),
        (
            "0",
            |azure| azure.always(Door::Vault, Answer::reset()),
            "the connection was reset",
        ),
        (
            "0",
            |azure| azure.always(Door::Vault, Answer::throttled()),
            "429 Too Many Requests",
        ),
        (
            "0",
            |azure| azure.always(Door::Vault, Answer::status(500)),
            "500 Internal Server Error",
        ),
        (
            "0",
            |azure| azure.always(Door::Vault, Answer::akv10046()),
            "401 Unauthorized",
        ),
        (
            "2",
            |azure| azure.always(Door::Vault, Answer::status(503)),
            "503 Service Unavailable",
        ),
        (
            "2",
            |azure| azure.always(Door::Vault, Answer::usual().hold()),
            "",
        ),
        // It asks for more time than there is.
        (
            "30",
            |azure| {
                azure.always(Door::Vault, Answer::throttled().header("Retry-After", "31"));
            },
            "429 Too Many Requests",
        ),
    ];
    let rows = LAYOUTS
        .iter()
        .flat_map(|layout| troubles.map(|trouble| (*layout, trouble)));
    all_at_once(rows, |(layout, (timeout, trouble, said))| {
        let earlier = Earlier::run(layout, &ONE);
        trouble(&earlier.azure);
        let run = earlier.again(&[
            "--keep-existing",
            "--timeout",
            timeout,
            "--secret",
            "a=alpha",
        ]);
        let vault = earlier.azure.vault();
        earlier.keeps(
            run,
            &format!("reading secret `alpha` from {vault} for a: {said}"),
        );
        assert_eq!(earlier.place.read("a"), b"first");
    });
}

#[test]
fn while_there_is_no_token_the_files_are_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Door::Imds);
        earlier.azure.close(Door::Login);
        let imds = format!(
            "getting an access token from IMDS ({}, managed identity): connection refused",
            earlier.azure.imds()
        );
        earlier.keeps(earlier.again(&keep(&ONE)), &imds);
        let run = earlier.azure.workload_environment().into_iter().fold(
            earlier
                .again(&keep(&ONE))
                .without("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            |run, (name, value)| run.env(name, value),
        );
        let entra = format!(
            "getting an access token from Entra ({}",
            earlier.azure.login()
        );
        earlier.keeps(run, &entra);
    }
}

/// A name that DNS does not know may be one that it does not know at the moment.
#[test]
fn while_the_vaults_name_is_not_known_the_files_are_kept() {
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
    earlier.keeps(run, "reading secret `alpha` from vault.invalid for a: ");
}

/// The first start of all, while Azure is away.
#[test]
fn without_an_earlier_run_there_is_nothing_to_keep() {
    for layout in LAYOUTS {
        let azure = Azure::start();
        azure.close(Door::Vault);
        let earlier = Earlier {
            azure,
            place: Place::new(),
            layout,
        };
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
        assert_eq!(earlier.place.tree(), [""; 0]);
        // Files of the same names are not enough.
        earlier.azure.open(Door::Vault);
        earlier.azure.secret("alpha", "first");
        earlier.place.quiet(&earlier.again(&ONE).outcome());
        earlier.azure.close(Door::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
}

/// It is not waited for any longer than without the option.
#[test]
fn it_is_the_deadline_that_ends_the_tries() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.next(Door::Vault, Answer::status(503));
    let words = ["--keep-existing", "--timeout", "30", "--secret", "a=alpha"];
    earlier.place.quiet(&earlier.again(&words).outcome());
    // A vault that comes back in time has the last word.
    earlier.azure.secret("alpha", "new");
    earlier.azure.next(Door::Vault, Answer::status(503));
    earlier.place.quiet(&earlier.again(&words).outcome());
    assert_eq!(earlier.place.read("a"), b"new");
    let began = SystemTime::now();
    earlier.azure.always(Door::Vault, Answer::status(503));
    let words = ["--keep-existing", "--timeout", "1", "--secret", "a=alpha"];
    assert_eq!(earlier.again(&words).outcome().code, Some(0));
    assert!(began.elapsed().unwrap() < Duration::from_secs(20));
}

//! What is kept has to be what was asked for: the same names, each from the same reference, in the same form.

use super::{Earlier, LAYOUTS, ONE, keep};
use crate::azure::Door;
use crate::support_files::change_mode;

const VERSION: &str = "0123456789abcdef0123456789abcdef";

/// After a run with the first words, one with the others has nothing to keep; all of them want `alpha` alone, and the
/// last for these files.
#[track_caller]
fn other(before: &[&str], after: &[&'static str], files: &str) {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, before);
        earlier.azure.close(Door::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(after)), files);
    }
}

/// After a run with the first words, one with the others keeps the files.
#[track_caller]
fn same(before: &[&str], after: &[&'static str]) {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, before);
        earlier.azure.close(Door::Vault);
        earlier.keeps(earlier.again(&keep(after)), "reading secret `alpha` from ");
    }
}

const TWO: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/b=alpha"];

#[test]
fn another_name_is_not_there() {
    other(&ONE, &["--secret", "b=alpha"], "b");
    other(&ONE, &TWO, "a, sub/b");
    other(
        &["--secret", "sub/a=alpha"],
        &["--secret", "sub/b=alpha"],
        "sub/b",
    );
    other(&["--secret", "sub/a=alpha"], &["--secret", "a=alpha"], "a");
    other(&["--secret", "a=alpha"], &["--secret", "A=alpha"], "A");
}

/// All that is asked for was written; what else there is, is nobody's business here.
#[test]
fn fewer_names_are_there_too() {
    same(&TWO, &ONE);
    same(&TWO, &["--secret", "sub/b=alpha"]);
    same(&TWO, &["--secret", "sub/b=alpha", "--secret", "a=alpha"]);
    same(&["--secret", "a=alpha", "--secret", "b=beta"], &ONE);
}

#[test]
fn another_reference_is_another_secret() {
    other(&["--secret", "a=beta"], &ONE, "a");
    other(&["--secret", "a=akv:///alpha?trim"], &ONE, "a");
    other(&ONE, &["--secret", "a=akv:///alpha?trim"], "a");
}

#[test]
fn another_version_is_another_secret() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Door::Vault);
        let reference = format!("a=alpha/{VERSION}");
        let words = ["--keep-existing", "--timeout", "0", "--secret", &reference];
        let outcome = earlier.again(&words).outcome();
        assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("; and there is nothing to keep: "),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn another_vault_has_other_secrets() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        // The same vault by another name, and nobody listens.
        let words = [
            "--keep-existing",
            "--timeout",
            "0",
            "--secret",
            "a=akv://127.0.0.1:1/alpha",
        ];
        let before = earlier.place.snapshot();
        let outcome = earlier
            .again(&words)
            .env("AKV_INIT_ALLOW_VAULT", "127.0.0.1:1")
            .outcome();
        assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("; and there is nothing to keep: "),
            "{}",
            outcome.stderr
        );
        assert_eq!(earlier.place.snapshot(), before);
    }
}

/// It is the secret that counts, not the words for it.
#[test]
fn another_spelling_is_the_same_reference() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &["--secret", "a=alpha"]);
        earlier.azure.close(Door::Vault);
        let vault = earlier.azure.vault();
        // Whether the environment can hold it, too: a bare name there is no reference.
        for (in_environment, reference) in [
            (false, "alpha".to_owned()),
            (false, format!("https://{vault}/secrets/alpha")),
            (true, "akv:///alpha".to_owned()),
            (true, format!("akv://{vault}/alpha")),
            (
                true,
                format!("@Microsoft.KeyVault(SecretUri=https://{vault}/secrets/alpha)"),
            ),
        ] {
            let secret = format!("a={reference}");
            let run = earlier.again(&["--keep-existing", "--timeout", "0", "--secret", &secret]);
            earlier.keeps(run, "reading secret `alpha` from ");
            if in_environment {
                let run = earlier.again(&keep(&["--from-env"])).env("a", &reference);
                earlier.keeps(run, "reading secret `alpha` from ");
            }
        }
    }
}

#[test]
fn another_format_is_another_file() {
    let json = ["--secret", "A=alpha", "--output", "json:a"];
    let dotenv = ["--secret", "A=alpha", "--output", "dotenv:a"];
    same(&json, &json);
    other(&json, &dotenv, "A");
    other(&dotenv, &json, "A");
    other(&json, &["--secret", "a=alpha"], "a");
    other(&["--secret", "a=alpha"], &json, "A");
}

/// A file of several secrets is all of them.
#[test]
fn other_keys_in_it_make_another_file() {
    let two = [
        "--secret", "A=alpha", "--secret", "B=alpha", "--output", "json:all",
    ];
    same(
        &two,
        &[
            "--output", "json:all", "--secret", "B=alpha", "--secret", "A=alpha",
        ],
    );
    other(&two, &["--secret", "A=alpha", "--output", "json:all"], "A");
    other(
        &["--secret", "A=alpha", "--output", "json:all"],
        &two,
        "A, B",
    );
    other(
        &two,
        &[
            "--secret", "A=alpha", "--secret", "C=alpha", "--output", "json:all",
        ],
        "A, C",
    );
}

#[test]
fn every_output_has_to_be_there() {
    let json = ["--secret", "A=alpha", "--output", "json:all"];
    let both = [
        "--secret", "A=alpha", "--output", "json:all", "--output", "files",
    ];
    same(&both, &json);
    same(&both, &["--secret", "A=alpha"]);
    same(&both, &both);
    other(&json, &both, "A");
}

/// Who may read them is a part of what was asked for.
#[test]
fn other_permissions_make_other_files() {
    other(&ONE, &["--mode", "0400", "--secret", "a=alpha"], "a");
    same(
        &["--mode", "0400", "--secret", "a=alpha"],
        &["--mode", "400", "--secret", "a=alpha"],
    );
    for (layout, name) in [("plain", "a"), ("atomic", "..data/a")] {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Door::Vault);
        change_mode(&earlier.place.path(name), 0o444);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
}

/// What another layout has written is refused as ever.
#[test]
fn another_layout_is_refused() {
    for (before, after) in [("plain", "atomic"), ("atomic", "plain")] {
        let earlier = Earlier::run(before, &ONE);
        earlier.azure.close(Door::Vault);
        let words = [&["--layout", after], &keep(&ONE)[..]].concat();
        let outcome = earlier.place.write(&earlier.azure, &words).outcome();
        assert_eq!(outcome.code, Some(73), "{}", outcome.stderr);
    }
}

//! Files are kept only if the names, the references and the formats are the same.

use std::os::unix::fs::chown;

use nix::unistd::geteuid;

use super::{Earlier, LAYOUTS, ONE, keep};
use crate::azure::Endpoint;
use crate::support_files::{MANIFEST, change_mode};

const VERSION: &str = "0123456789abcdef0123456789abcdef";

/// Asserts that after a run with `before` a run with `after`, which needs only `alpha`, for these files, keeps nothing.
#[track_caller]
fn not_kept(before: &[&str], after: &[&'static str], files: &str) {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, before);
        earlier.azure.close(Endpoint::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(after)), files);
    }
}

/// Asserts that after a run with `before` a run with `after` keeps the files.
#[track_caller]
fn kept(before: &[&str], after: &[&'static str]) {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, before);
        earlier.azure.close(Endpoint::Vault);
        earlier.keeps(earlier.again(&keep(after)), "alpha");
    }
}

const TWO: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/b=alpha"];

#[test]
fn another_name_is_not_kept() {
    not_kept(&ONE, &["--secret", "b=alpha"], "b");
    not_kept(&ONE, &TWO, "a, sub/b");
    not_kept(
        &["--secret", "sub/a=alpha"],
        &["--secret", "sub/b=alpha"],
        "sub/b",
    );
    not_kept(&["--secret", "sub/a=alpha"], &["--secret", "a=alpha"], "a");
    not_kept(&["--secret", "a=alpha"], &["--secret", "A=alpha"], "A");
}

#[test]
fn subset_of_the_files_is_kept() {
    kept(&TWO, &ONE);
    kept(&TWO, &["--secret", "sub/b=alpha"]);
    kept(&TWO, &["--secret", "sub/b=alpha", "--secret", "a=alpha"]);
    kept(&["--secret", "a=alpha", "--secret", "b=beta"], &ONE);
}

#[test]
fn another_reference_is_not_kept() {
    not_kept(&["--secret", "a=beta"], &ONE, "a");
    not_kept(&["--secret", "a=akv:///alpha?trim"], &ONE, "a");
    not_kept(&ONE, &["--secret", "a=akv:///alpha?trim"], "a");
}

#[test]
fn another_version_is_not_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Endpoint::Vault);
        let reference = format!("a=alpha/{VERSION}");
        let words = ["--keep-existing", "--timeout", "0", "--secret", &reference];
        earlier.nothing_to_keep(earlier.again(&words), "a");
    }
}

#[test]
fn another_vault_is_not_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        // An address where nothing listens.
        let words = [
            "--keep-existing",
            "--timeout",
            "0",
            "--secret",
            "a=akv://127.0.0.1:1/alpha",
        ];
        let run = earlier
            .again(&words)
            .env("AKV_INIT_ALLOW_VAULT", "127.0.0.1:1");
        earlier.nothing_to_keep(run, "a");
    }
}

#[test]
fn another_spelling_of_the_reference_is_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &["--secret", "a=alpha"]);
        earlier.azure.close(Endpoint::Vault);
        let vault = earlier.azure.vault();
        // With whether it is a reference in the environment too, which a bare name is not.
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
            earlier.keeps(run, "alpha");
            if in_environment {
                let run = earlier.again(&keep(&["--from-env"])).env("a", &reference);
                earlier.keeps(run, "alpha");
            }
        }
    }
}

#[test]
fn another_format_is_not_kept() {
    let json = ["--secret", "A=alpha", "--output", "json:a"];
    let dotenv = ["--secret", "A=alpha", "--output", "dotenv:a"];
    kept(&json, &json);
    not_kept(&json, &dotenv, "A");
    not_kept(&dotenv, &json, "A");
    not_kept(&json, &["--secret", "a=alpha"], "a");
    not_kept(&["--secret", "a=alpha"], &json, "A");
}

#[test]
fn bundle_with_other_keys_is_not_kept() {
    let two = [
        "--secret", "A=alpha", "--secret", "B=alpha", "--output", "json:all",
    ];
    kept(
        &two,
        &[
            "--output", "json:all", "--secret", "B=alpha", "--secret", "A=alpha",
        ],
    );
    not_kept(&two, &["--secret", "A=alpha", "--output", "json:all"], "A");
    not_kept(
        &["--secret", "A=alpha", "--output", "json:all"],
        &two,
        "A, B",
    );
    not_kept(
        &two,
        &[
            "--secret", "A=alpha", "--secret", "C=alpha", "--output", "json:all",
        ],
        "A, C",
    );
}

#[test]
fn missing_output_is_not_kept() {
    let json = ["--secret", "A=alpha", "--output", "json:all"];
    let both = [
        "--secret", "A=alpha", "--output", "json:all", "--output", "files",
    ];
    kept(&both, &json);
    kept(&both, &["--secret", "A=alpha"]);
    kept(&both, &both);
    not_kept(&json, &both, "A");
}

#[test]
fn file_with_other_permissions_is_not_kept() {
    not_kept(&ONE, &["--mode", "0400", "--secret", "a=alpha"], "a");
    kept(
        &["--mode", "0400", "--secret", "a=alpha"],
        &["--mode", "400", "--secret", "a=alpha"],
    );
    for (layout, name) in [("plain", "a"), ("atomic", "..data/a")] {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Endpoint::Vault);
        change_mode(&earlier.place.path(name), 0o444);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
}

/// Another user of the volume may have put it there. Only root can give a file away.
#[test]
fn what_belongs_to_another_user_is_not_kept() {
    if !geteuid().is_root() {
        return;
    }
    let words = ["--secret", "sub/a=alpha"];
    for (layout, name) in [
        ("plain", MANIFEST),
        ("plain", "sub"),
        ("plain", "sub/a"),
        ("atomic", "..data/..akv-init.json"),
        ("atomic", "..data/"),
        ("atomic", "..data/sub"),
        ("atomic", "..data/sub/a"),
    ] {
        let earlier = Earlier::run(layout, &words);
        earlier.azure.close(Endpoint::Vault);
        chown(earlier.place.path(name), Some(12_345), None).unwrap();
        earlier.nothing_to_keep(earlier.again(&keep(&words)), "sub/a");
        // What root has put there may be kept.
        chown(earlier.place.path(name), Some(0), None).unwrap();
        earlier.keeps(earlier.again(&keep(&words)), "alpha");
    }
}

#[test]
fn another_layout_is_refused() {
    for (before, after) in [("plain", "atomic"), ("atomic", "plain")] {
        let earlier = Earlier::run(before, &ONE);
        earlier.azure.close(Endpoint::Vault);
        let words = [&["--layout", after], &keep(&ONE)[..]].concat();
        let run = earlier.place.write(&earlier.azure, &words);
        run.failure(73, "cannot create");
    }
}

//! Secrets that are written to files are not printed, and a failed run leaves no part of them.

use std::fs;

use nix::sys::resource::Resource;

use super::watch::assert_silent;
use super::{OPAQUE_TOKEN, SECRET, TOKEN, carriers, granted};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{NO_OPTIONS, Outcome, exec};
use crate::support_files::{MANIFEST, Place, change_mode};
use crate::support_inherited as inherited;

/// Asserts this exit code and that no secret was printed. Returns standard error.
#[track_caller]
fn silent(azure: &Azure, outcome: Outcome, code: i32) -> String {
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    assert_silent(azure, &outcome);
    outcome.stderr
}

const FILES: [&str; 10] = [
    "--verbose",
    "--keep-existing",
    "--secret",
    "a=leak",
    "--secret",
    "sub/b=leak",
    "--output",
    "files",
    "--output",
    "json:all.json",
];

#[test]
fn written_secret_is_not_printed() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = (Azure::start(), Place::new());
        azure.secret("leak", SECRET);
        let words = [&["--layout", layout], &FILES[..]].concat();
        // The files are created, verified and replaced.
        for value in [SECRET, SECRET, "LEAKofSECRET, rotated\n"] {
            azure.secret("leak", value);
            let stderr = silent(&azure, place.write(&azure, &words).outcome(), 0);
            assert!(stderr.contains("debug: "), "{stderr}");
            assert_eq!(place.read("sub/b"), value.as_bytes());
        }
        let manifest = match layout {
            "plain" => place.read(MANIFEST),
            _ => place.read(&format!("..data/{MANIFEST}")),
        };
        let manifest = String::from_utf8(manifest).unwrap();
        assert!(
            !manifest.contains("LEAKof") && !manifest.contains("eyJ"),
            "{manifest}"
        );
    }
}

#[test]
fn kept_secret_is_not_printed() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("leak", SECRET);
        let words = [&["--layout", layout, "--timeout", "0"], &FILES[..]].concat();
        silent(&azure, place.write(&azure, &words).outcome(), 0);
        let mut kept = 0;
        for token in [TOKEN, OPAQUE_TOKEN] {
            for (name, answer) in carriers::echoes(token) {
                azure.next(Endpoint::Imds, granted(token));
                azure.next(Endpoint::Vault, answer);
                let outcome = place.write(&azure, &words).outcome();
                assert_silent(&azure, &outcome);
                azure.clear(Endpoint::Vault);
                match outcome.code {
                    Some(0) => {
                        let warnings = outcome.stderr.matches("warning: ").count();
                        assert_eq!(warnings, 1, "{name}: {}", outcome.stderr);
                        kept += 1;
                    }
                    code => assert!(matches!(code, Some(64..=78)), "{name}: {}", outcome.stderr),
                }
            }
        }
        assert!(kept > 20, "{kept}");
        azure.close(Endpoint::Vault);
        silent(&azure, place.write(&azure, &words).outcome(), 0);
    }
}

/// Nor is its length.
#[test]
fn secret_that_a_format_cannot_hold_is_not_printed() {
    for (output, value) in [
        ("dotenv:env", format!("{SECRET}\0{SECRET}")),
        ("dotenv:env", format!("{SECRET}'\"$`\\")),
        ("k8s-env:env", format!("{SECRET}'{SECRET}")),
        ("k8s-env:env", format!("{SECRET}\0")),
    ] {
        let (azure, place) = (Azure::start(), Place::new());
        azure.secret("leak", &value);
        let words = [
            "--verbose",
            "--secret",
            "A=leak",
            "--output",
            "files",
            "--output",
            output,
        ];
        let stderr = silent(&azure, place.write(&azure, &words).outcome(), 78);
        // How long a request took may be the same number.
        let stderr = stderr.replace(" ms", "ms");
        for length in [value.len(), value.chars().count()] {
            assert!(!stderr.contains(&format!(" {length} ")), "{stderr}");
        }
        assert_eq!(place.tree(), NO_OPTIONS);
    }
}

#[test]
fn secret_that_cannot_be_written_is_neither_printed_nor_left() {
    let (azure, place) = (Azure::start(), Place::new());
    azure.secret("leak", SECRET);
    fs::create_dir(place.path("sub")).unwrap();
    change_mode(&place.path("sub"), 0o555);
    let run = place
        .write(&azure, &FILES)
        .with(inherited::obey_permissions);
    silent(&azure, run.outcome(), 73);
    assert_eq!(place.tree(), ["sub/ 0555"]);
    // A limit on the size of files, in bytes, in the middle of the secret.
    let place = Place::new();
    for layout in ["plain", "atomic"] {
        let words = [&["--layout", layout], &FILES[..]].concat();
        let run = place.write(&azure, &words).with(|command| {
            inherited::limit(command, Resource::RLIMIT_FSIZE, 10, 10);
        });
        silent(&azure, run.outcome(), 73);
        assert_eq!(place.tree(), NO_OPTIONS);
    }
}

#[test]
fn secret_in_memory_is_not_printed() {
    let azure = Azure::start();
    azure.secret("leak", SECRET);
    let target = format!("A=akv://{}/leak", azure.vault());
    let token = "B=entra-token:https://database.windows.net/";
    let words = ["--verbose", "--memfd", &target, "--memfd", token];
    silent(
        &azure,
        exec(&azure, words).args(["--", "/bin/true"]).outcome(),
        0,
    );
    let run = exec(&azure, words)
        .args(["--", "/bin/true"])
        .with(|command| {
            inherited::limit(command, Resource::RLIMIT_FSIZE, 10, 10);
        });
    silent(&azure, run.outcome(), 73);
    let program = azure.dir().join("no-program");
    fs::write(&program, "not a program\n").unwrap();
    change_mode(&program, 0o755);
    silent(&azure, exec(&azure, words).args([program]).outcome(), 126);
    azure.always(Endpoint::Vault, Response::rbac());
    silent(
        &azure,
        exec(&azure, words).args(["--", "/bin/true"]).outcome(),
        77,
    );
}

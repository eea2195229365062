//! The program `openssl`, which makes the PFX files of the tests and reads them as a second opinion.

use std::path::Path;
use std::process::Command;

/// Runs `openssl` in a directory, and returns its standard output.
#[track_caller]
pub fn openssl<'a>(dir: &Path, words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let words: Vec<&str> = words.into_iter().collect();
    let output = Command::new("openssl")
        .args(&words)
        .current_dir(dir)
        .output()
        .expect("openssl is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {stderr}");
    output.stdout
}

/// How `openssl pkcs12 -export` encrypts: what each is like, and its options.
pub const ENCRYPTIONS: [(&str, &[&str]); 9] = [
    (
        "Key Vault",
        &[
            "-legacy",
            "-keypbe",
            "PBE-SHA1-3DES",
            "-certpbe",
            "PBE-SHA1-3DES",
            "-macalg",
            "sha1",
            "-iter",
            "2000",
        ],
    ),
    ("OpenSSL 1, Windows", &["-legacy"]),
    ("OpenSSL 3", &[]),
    (
        "PKCS #5 with SHA-1",
        &[
            "-keypbe",
            "AES-128-CBC",
            "-certpbe",
            "AES-128-CBC",
            "-macalg",
            "sha1",
        ],
    ),
    (
        "the other old ciphers",
        &[
            "-legacy",
            "-keypbe",
            "PBE-SHA1-RC2-40",
            "-certpbe",
            "PBE-SHA1-RC2-128",
        ],
    ),
    (
        "the longer digests",
        &[
            "-macalg",
            "sha512",
            "-keypbe",
            "PBE-SHA1-3DES",
            "-certpbe",
            "AES-256-CBC",
        ],
    ),
    (
        "one iteration",
        &["-noiter", "-nomaciter", "-macalg", "sha384"],
    ),
    ("without a MAC", &["-nomac"]),
    ("not encrypted", &["-keypbe", "NONE", "-certpbe", "NONE"]),
];

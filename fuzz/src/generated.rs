//! Properties that hold for every reference and every secret, on generated ones.
//!
//! `AKV_INIT_TEST_CASES` is how many; the numbers are the same in every run.

use crate::replay::fuzz_folder;
use crate::request::reference::{Reference, SecretRef};
use crate::targets::{self, CANARY, assert_value};

/// How many cases a usual run has.
const CASES: usize = 20_000;

fn cases() -> usize {
    let cases = std::env::var("AKV_INIT_TEST_CASES").ok();
    cases.map_or(CASES, |cases| cases.parse().expect("a number"))
}

/// Numbers that are random enough (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % limit
    }

    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Some of the choices, put together.
    fn text(&mut self, choices: &[&str], longest: usize) -> String {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.one(choices)).collect()
    }
}

/// Every choice is rarely the reason for an error, so that many references are good ones.
fn reference(random: &mut Random) -> String {
    const VAULTS: &[&str] = &[
        "kv1",
        "KV1",
        "",
        "kv1.vault.azure.net",
        "h:8443",
        "[::1]",
        "1.2.3.4",
        "h:443",
    ];
    const NAMES: &[&str] = &["a", "sql-SA", "0", "-", "secrets"];
    const VERSIONS: &[&str] = &["", "", "", "/", "/0123456789abcdef0123456789ABCDEF"];
    const OPTIONS: &[&str] = &[
        "pem",
        "pem=key",
        "trim",
        "decode=base64",
        "decode=hex",
        "decode=escapes",
        "encode=url",
        "encode=ado",
        "encode=json",
        "encode=base64",
        "optional",
        "file",
        "default=",
        "default=a%26%7Db",
    ];
    const POINTERS: &[&str] = &[
        "/",
        "a",
        "a b",
        "~0",
        "~1",
        "%2F",
        "%7E0",
        "é",
        "%C3%A9",
        "%00",
        "%25",
        "?",
        "&",
        "=",
        ":",
        "@",
        "0",
        "01",
        "-",
        "%0A",
        "+",
        "\u{1F511}",
        "%",
        "#",
    ];
    let mut text = format!(
        "akv://{}/{}{}",
        random.one(VAULTS),
        random.one(NAMES),
        random.one(VERSIONS)
    );
    for index in 0..random.below(4) {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(random.one(OPTIONS));
    }
    if random.below(2) == 0 {
        text.push_str("#/");
        text.push_str(&random.text(POINTERS, 6));
    }
    text
}

/// Calls the function with generated references that are good.
fn each_reference(mut check: impl FnMut(&mut Random, &SecretRef)) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut count = 0;
    while count < cases() {
        let text = reference(&mut random);
        if let Ok(Reference::Secret(reference)) = Reference::parse(&text) {
            count += 1;
            check(&mut random, &reference);
        }
    }
}

#[test]
fn printed_reference_is_the_same_reference() {
    each_reference(|_, reference| {
        let printed = reference.to_string();
        assert_eq!(
            Reference::parse(&printed).ok(),
            Some(Reference::Secret(reference.clone())),
            "{printed}"
        );
        let again = Reference::detect("NAME", &printed).ok().flatten();
        let Some(Reference::Secret(again)) = again else {
            panic!("{printed}");
        };
        assert_eq!(again.to_string(), printed);
    });
}

/// Nor does the work on a value panic.
#[test]
fn no_message_holds_a_part_of_the_secret() {
    const PARTS: &[&str] = &[
        CANARY,
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"a\"",
        "\"0\"",
        "{\"a\":",
        "1",
        "-0",
        "1e9",
        "null",
        "true",
        "\\u0000",
        "\\ud800",
        "\\",
        "\\n",
        "\n",
        "\r",
        " ",
        "QUJD",
        "_-",
        "=",
        "41",
        "4",
        "\u{feff}",
        "\0",
        "é",
        "-----BEGIN ",
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----MAA=",
        "-----END PRIVATE KEY-----",
        "\"c4n4ry\"",
        "/",
    ];
    each_reference(|random, reference| {
        let mut secret = match random.below(3) {
            0 => format!("{{\"a\":{{\"a\":\"{CANARY}\",\"0\":[{CANARY}]}}}}"),
            _ => random.text(PARTS, 12),
        }
        .into_bytes();
        if random.below(4) == 0 && !secret.is_empty() {
            let at = random.below(secret.len());
            secret[at] = u8::try_from(random.below(256)).expect("a byte");
        }
        assert_value(reference, &secret);
    });
}

/// Bytes of PFX files are replaced, removed and repeated. The files ask for one iteration, so that most of the time is
/// not spent on keys.
#[test]
fn hundred_thousand_changed_pfx_are_read_or_refused() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for name in ["one-iteration", "without-mac", "plain"] {
        let path = fuzz_folder().join(format!("corpus/pfx/{name}.pfx"));
        let original = std::fs::read(path).expect("it is in the corpus");
        for _ in 0..33_334 {
            let mut changed = original.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(changed.len());
                let end = (at + random.below(64)).min(changed.len());
                match random.below(8) {
                    0 if end < changed.len() => drop(changed.drain(at..end)),
                    1 => changed.extend_from_within(at..end),
                    2 => changed.truncate(at.max(1)),
                    _ => changed[at] = u8::try_from(random.below(256)).expect("a byte"),
                }
            }
            targets::pfx(&changed);
        }
    }
}

//! Properties that hold for every reference and every secret, on generated ones.
//!
//! `AKV_INIT_TEST_CASES` is how many; the numbers are the same in every run.

use std::collections::BTreeMap;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::replay::fuzz_folder;
use crate::request::many::ManyRef;
use crate::request::pem::PFX_CONTENT_TYPE;
use crate::request::reference::options::Selection;
use crate::request::reference::{Reference, SecretRef};
use crate::request::template::Template;
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
    fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

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
    let (vault, name, version) = (random.one(VAULTS), random.one(NAMES), random.one(VERSIONS));
    let field = match random.below(2) {
        0 => format!("#/{}", random.text(POINTERS, 6)),
        _ => String::new(),
    };
    match random.below(16) {
        0 => format!("azure:keyvault:{name}{version}"),
        1 => format!("ref+azurekeyvault://{vault}/{name}{version}{field}"),
        2 => format!("secretref+azurekeyvault://{vault}/{name}{version}{field}+"),
        3 => format!("https://{vault}/secrets/{name}{version}"),
        4 => format!("@Microsoft.KeyVault(VaultName={vault};SecretName={name})"),
        5 => format!("@Microsoft.KeyVault(SecretUri=https://{vault}/secrets/{name}{version})"),
        _ => {
            let options = options(random);
            // A field and `pem` exclude each other.
            let field = if options.contains("pem") { "" } else { &field };
            format!("akv://{vault}/{name}{version}{options}{field}")
        }
    }
}

/// Up to three options, with the `?` before them.
fn options(random: &mut Random) -> String {
    const OPTIONS: &[&str] = &[
        "pem",
        "pem=all",
        "pem=chain",
        "pem=leaf",
        "pem=ca",
        "pem=key",
        "trim",
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
    ];
    const DEFAULTS: &[&str] = &[
        "a", "%26", "%7D", "%25", "%00", "%0A", "é", "%C3%A9", "+", "?", "=", ":", "/", "~", "%",
    ];
    let mut text = String::new();
    for index in 0..random.below(4) {
        text.push(if index == 0 { '?' } else { '&' });
        let option = random.one(OPTIONS);
        text.push_str(option);
        if option == "default=" {
            text.push_str(&random.text(DEFAULTS, 4));
        }
    }
    text
}

/// A reference of `--from`.
fn many_reference(random: &mut Random) -> String {
    const PATHS: &[&str] = &[
        "kv1/a",
        "kv1/*",
        "KV1.vault.azure.net/app-*",
        "/a",
        "/*",
        "[::1]/A*",
        "h:8443/b/0123456789abcdef0123456789ABCDEF",
        "h:443/-*",
    ];
    const OPTIONS: &[&str] = &[
        "prefix=",
        "prefix=APP_",
        "prefix=a%26%2F%C3%A9=b",
        "optional",
        "upper",
        "tag=a",
        "tag=a=",
        "tag=a%3Db=c=d",
        "tag=%23=%7B",
    ];
    let mut text = format!("akv://{}", random.one(PATHS));
    for index in 0..random.below(4) {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(random.one(OPTIONS));
    }
    if random.below(4) == 0 {
        text.push_str("#/a%2Fb~1");
    }
    text
}

#[test]
fn printed_reference_to_many_values_is_the_same_reference() {
    let mut random = Random::new();
    let mut count = 0;
    while count < cases() {
        if let Ok(reference) = ManyRef::parse(&many_reference(&mut random)) {
            count += 1;
            targets::assert_many_is_canonical(&reference);
        }
    }
}

/// Nor does the work on the fields of a secret panic.
#[test]
fn no_message_holds_the_name_of_a_field() {
    const PARTS: &[&str] = &[
        CANARY,
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"c4n4ry\":",
        "\"a/c4n4ry\":",
        "\"..c4n4ry\":",
        "\"a\":",
        "\"\":",
        "\"A\":\"x\",",
        "\"c4n4ry\"",
        "1",
        "1.5",
        "null",
        "true",
        "\\u0000",
        "{}",
        "\n",
    ];
    let mut random = Random::new();
    for _ in 0..cases() / 10 {
        let inside = random.text(PARTS, 8);
        for secret in [format!("{{{inside}}}"), inside] {
            for prefix in [None, Some(""), Some("APP_")] {
                targets::assert_fields(secret.as_bytes(), prefix);
            }
        }
    }
}

/// The next good reference, and its text.
fn good_reference(random: &mut Random) -> (String, SecretRef) {
    loop {
        let text = reference(random);
        if let Ok(Reference::Secret(reference)) = Reference::parse(&text) {
            return (text, reference);
        }
    }
}

#[test]
fn printed_reference_is_the_same_reference() {
    let mut random = Random::new();
    for _ in 0..cases() {
        let (_, reference) = good_reference(&mut random);
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
    }
}

/// The literal parts of a text and the references in it are those that it was made of, and of what they are printed as.
#[test]
fn printed_text_is_the_same_text() {
    const LITERALS: &[&str] = &[
        "a", " ", "=", "{", "}", "{}", "$ ", "://", ":", "@", ";", "\"", "\n", "é", "akv:", "//",
    ];
    let mut random = Random::new();
    let mut composed = 0;
    for _ in 0..cases() {
        let mut expected = Template {
            parts: Vec::new(),
            end: Vec::new(),
        };
        let mut written = Vec::new();
        for _ in 0..=random.below(3) {
            let (text, reference) = good_reference(&mut random);
            let mut before = random.text(LITERALS, 4).into_bytes();
            if random.below(8) == 0 {
                before.push(0xff);
            }
            // What only the command line or a whole value may be is written as `akv://`.
            let is_read = text.starts_with("akv:") || text.starts_with('@');
            let text = if is_read { text } else { reference.to_string() };
            written.extend([&before, format!("{{{text}}}").as_bytes()].concat());
            expected.parts.push((before, Reference::Secret(reference)));
        }
        expected.end = random.text(LITERALS, 4).into_bytes();
        written.extend(&expected.end);
        let Ok(template) = Template::detect("NAME", &written) else {
            continue;
        };
        let template = template.expect("there is a reference in braces");
        let is_blank = |literal: &Vec<u8>| literal.trim_ascii().is_empty();
        if let [(before, _)] = expected.parts.as_mut_slice()
            && is_blank(before)
            && is_blank(&expected.end)
        {
            before.clear();
            expected.end.clear();
        }
        assert_eq!(template, expected);
        let mut printed = Vec::new();
        for (before, reference) in &template.parts {
            let Reference::Secret(reference) = reference else {
                panic!("there is no token");
            };
            printed.extend([before, format!("{{{reference}}}").as_bytes()].concat());
        }
        printed.extend(&template.end);
        let again = Template::detect("NAME", &printed).ok().flatten();
        assert_eq!(again.as_ref(), Some(&template));
        composed += usize::from(template.parts.len() > 1);
    }
    assert!(composed > cases() / 20, "{composed}");
}

/// A secret that is a text.
fn text_secret(random: &mut Random) -> String {
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
    match random.below(3) {
        0 => format!("{{\"a\":{{\"a\":\"{CANARY}\",\"0\":[{CANARY}]}}}}"),
        _ => random.text(PARTS, 12),
    }
}

/// The files of a corpus whose names are these.
fn corpus(target: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(target);
    let read = |name: &&str| std::fs::read(folder.join(name)).expect("it is in the corpus");
    names.iter().map(read).collect()
}

/// Files that ask for one iteration, so that most of the time is not spent on keys.
const QUICK_PFX: [&str; 3] = ["one-iteration.pfx", "without-mac.pfx", "plain.pfx"];

/// Nor does the work on a value panic. The secrets are texts, PEM whose blocks are in any order, and PFX files, all of
/// them with a changed byte here and there.
#[test]
fn no_message_holds_a_part_of_the_secret() {
    let pem = corpus("pem", &["leaf-last", "sec1", "escaped", "headers"]).concat();
    let pem = String::from_utf8(pem).expect("PEM is text");
    let blocks = pem.split("-----BEGIN ").skip(1);
    let blocks: Vec<String> = blocks
        .map(|block| format!("-----BEGIN {block}\n"))
        .collect();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let pfx = corpus("pfx", &QUICK_PFX);
    let mut random = Random::new();
    let mut made = BTreeMap::new();
    for _ in 0..cases() {
        let (_, reference) = good_reference(&mut random);
        let is_pem = matches!(reference.options.selection, Selection::Pem(_));
        let kind = match random.below(4) {
            0 | 1 if is_pem => "PEM",
            2 if is_pem => "PFX",
            _ => "text",
        };
        let mut secret = match kind {
            "PEM" => random.text(&blocks, 6).into_bytes(),
            "PFX" => pfx[random.below(pfx.len())].clone(),
            _ => text_secret(&mut random).into_bytes(),
        };
        if random.below(3) == 0 && !secret.is_empty() {
            let at = random.below(secret.len());
            secret[at] = u8::try_from(random.below(256)).expect("a byte");
        }
        let content_type = (kind == "PFX").then_some(PFX_CONTENT_TYPE);
        if kind == "PFX" {
            secret = BASE64_STANDARD.encode(secret).into_bytes();
        }
        if assert_value(&reference, &secret, content_type) {
            *made.entry((kind, is_pem)).or_insert(0) += 1;
        }
    }
    for kind in [("text", false), ("PEM", true), ("PFX", true)] {
        let count = made.get(&kind).copied().unwrap_or(0);
        assert!(count > cases() / 100, "{kind:?}: {made:?}");
    }
}

/// Bytes of PFX files are replaced, removed and repeated.
#[test]
fn hundred_thousand_changed_pfx_are_read_or_refused() {
    // A thread for each: no other test takes as long.
    thread::scope(|scope| {
        for original in corpus("pfx", &QUICK_PFX) {
            scope.spawn(move || read_changed_pfx(&original));
        }
    });
}

fn read_changed_pfx(original: &[u8]) {
    let mut random = Random::new();
    for _ in 0..33_334 {
        let mut changed = original.to_vec();
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

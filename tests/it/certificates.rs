//! `pem`: certificates and private keys from PEM and from PFX files, which are made and read by `openssl`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::azure::{Azure, Endpoint, Stored};
use crate::support::{NO_OPTIONS, akv_init, exec};
use crate::support_files::Place;
use crate::support_openssl::{ENCRYPTIONS, openssl};
use crate::support_scratch::Scratch;

const PFX: Option<&str> = Some("application/x-pkcs12");
const PEM: Option<&str> = Some("application/x-pem-file");
/// The kinds of keys of a leaf, with the options of `openssl genpkey`.
const KINDS: [(&str, &[&str]); 4] = [
    (
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
    (
        "rsa2048",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    (
        "rsa4096",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    ),
    (
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ),
];
/// The issuers of every leaf, its own first.
const CHAIN: [&str; 3] = ["inter-2", "inter-1", "root"];

/// Certificates and keys, as files in a directory.
struct Authority {
    scratch: Scratch,
}

impl Authority {
    /// The three issuers, and a leaf with a key of the first kind.
    fn new() -> Authority {
        let it = Authority {
            scratch: Scratch::new(),
        };
        it.issue("root", KINDS[0].1, None);
        it.issue("inter-1", KINDS[0].1, Some("root"));
        it.issue("inter-2", KINDS[0].1, Some("inter-1"));
        it.issue(KINDS[0].0, KINDS[0].1, Some("inter-2"));
        it
    }

    fn dir(&self) -> &Path {
        &self.scratch.0
    }

    /// Makes a key and its certificate with this name, signed by itself if there is no issuer.
    fn issue(&self, name: &str, key_options: &[&str], issuer: Option<&str>) {
        let [key, certificate] = [".key", ".pem"].map(|end| format!("{name}{end}"));
        openssl(
            self.dir(),
            [&["genpkey", "-out", &key], key_options].concat(),
        );
        self.certify(&certificate, &key, name, issuer);
    }

    /// Makes a certificate for a key.
    fn certify(&self, certificate: &str, key: &str, subject: &str, issuer: Option<&str>) {
        let subject = format!("/CN={subject}");
        let issuer_files = issuer.map(|it| [format!("{it}.pem"), format!("{it}.key")]);
        let mut words = vec!["req", "-x509", "-new", "-key", key, "-subj", &subject];
        words.extend(["-days", "3000", "-out", certificate]);
        if let Some([certificate, key]) = &issuer_files {
            words.extend(["-CA", certificate, "-CAkey", key]);
        }
        openssl(self.dir(), words);
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.dir().join(file)).unwrap()
    }

    /// The certificates with these names, as one text.
    fn certificates(&self, names: &[&str]) -> String {
        names
            .iter()
            .map(|name| self.read(&format!("{name}.pem")))
            .collect()
    }

    fn key(&self, name: &str) -> String {
        self.read(&format!("{name}.key"))
    }

    /// A PFX in base64, with the certificates in this order, unless there is a key: then its certificate precedes.
    fn pfx(&self, key: Option<&str>, certificates: &str, options: &[&str]) -> String {
        fs::write(self.dir().join("in.pem"), certificates).unwrap();
        let key_file = key.map(|key| format!("{key}.key"));
        let mut words = vec![
            "pkcs12", "-export", "-in", "in.pem", "-out", "out.pfx", "-passout", "pass:",
        ];
        match &key_file {
            Some(file) => words.extend(["-inkey", file]),
            None => words.push("-nokeys"),
        }
        words.extend(options);
        openssl(self.dir(), words);
        BASE64_STANDARD.encode(fs::read(self.dir().join("out.pfx")).unwrap())
    }
}

fn stored(name: &str, value: &str, content_type: Option<&str>) -> Stored {
    Stored {
        content_type: content_type.map(str::to_owned),
        ..Stored::new(name, value)
    }
}

/// The blocks of a PEM text, in the order of their text.
fn sorted_blocks(text: &str) -> Vec<String> {
    let blocks = text.split("-----BEGIN ").skip(1);
    let mut blocks: Vec<String> = blocks
        .map(|block| {
            let (label, _) = block.split_once("-----").unwrap();
            let end = format!("-----END {label}-----");
            format!("-----BEGIN {}{end}\n", block.split_once(&end).unwrap().0)
        })
        .collect();
    blocks.sort();
    blocks
}

/// Puts the secrets into a vault, and returns what `write` makes of each with `?pem` and this part.
fn written(azure: &Azure, secrets: &[Stored], option: &str) -> BTreeMap<String, String> {
    let place = Place::new();
    let mut words = Vec::new();
    for secret in secrets {
        azure.put(secret.clone());
        words.push("--secret".to_owned());
        words.push(format!("{0}=akv:///{0}?{option}", secret.name));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    place.wrote(azure, &words);
    let names = secrets.iter().map(|secret| secret.name.clone());
    names
        .map(|name| {
            let text = String::from_utf8(place.read(&name)).unwrap();
            (name, text)
        })
        .collect()
}

#[test]
fn pfx_gives_what_openssl_reads_in_the_order_of_tls() {
    let azure = Azure::start();
    let authority = Authority::new();
    for (kind, options) in &KINDS[1..] {
        authority.issue(kind, options, Some(CHAIN[0]));
    }
    let mut secrets = Vec::new();
    let mut expected = Vec::new();
    for (at, (_, options)) in ENCRYPTIONS.iter().enumerate() {
        for (kind, _) in KINDS {
            for length in 0..=CHAIN.len() {
                // Every kind of key and every chain with the first three, as Key Vault and OpenSSL write them.
                if at > 2 && (kind, length) != (KINDS[0].0, 3) {
                    continue;
                }
                let certificates = authority.certificates(&[&[kind], &CHAIN[..length]].concat());
                let options = [options, &["-name", "a friendly name"][..]].concat();
                let pfx = authority.pfx(Some(kind), &certificates, &options);
                let read = [
                    "pkcs12", "-legacy", "-in", "out.pfx", "-nodes", "-passin", "pass:",
                ];
                let read = String::from_utf8(openssl(authority.dir(), read)).unwrap();
                secrets.push(stored(&format!("s-{at}-{kind}-{length}"), &pfx, PFX));
                expected.push((authority.key(kind) + &certificates, read));
            }
        }
    }
    let written = written(&azure, &secrets, "pem");
    for (secret, (expected, read)) in secrets.iter().zip(expected) {
        let text = &written[&secret.name];
        assert_eq!(*text, expected, "{}", secret.name);
        assert_eq!(sorted_blocks(text), sorted_blocks(&read), "{}", secret.name);
    }
}

/// Recorded by the tests of Azure's SDK for .NET in 2021: a certificate that Key Vault made.
#[test]
fn recorded_answer_of_a_vault_is_read() {
    let azure = Azure::start();
    let scratch = Scratch::new();
    let value = include_str!("certificates/key-vault.pfx.txt");
    let pfx = scratch.0.join("vault.pfx");
    fs::write(&pfx, BASE64_STANDARD.decode(value).unwrap()).unwrap();
    let words = [
        "pkcs12",
        "-legacy",
        "-in",
        "vault.pfx",
        "-nodes",
        "-passin",
        "pass:",
    ];
    let read = String::from_utf8(openssl(&scratch.0, words)).unwrap();
    let text = written(&azure, &[stored("recorded", value, PFX)], "pem");
    let text = &text["recorded"];
    fs::write(scratch.0.join("all.pem"), text).unwrap();
    // The key is as Key Vault has it, with attributes, which `openssl pkcs12` leaves out.
    let key = String::from_utf8(openssl(&scratch.0, ["pkey", "-in", "all.pem"])).unwrap();
    let (_, certificates) = text.split_once("-----END PRIVATE KEY-----\n").unwrap();
    assert_eq!(sorted_blocks(&(key + certificates)), sorted_blocks(&read));
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
    assert!(any_supported_type(&key).is_ok());
}

/// All orders of these.
fn permutations<'a>(of: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut found = vec![Vec::new()];
    for (index, it) in of.iter().enumerate() {
        found = found
            .into_iter()
            .flat_map(|order| {
                (0..=index).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, *it);
                    order
                })
            })
            .collect();
    }
    found
}

#[test]
fn every_order_becomes_leaf_first() {
    let azure = Azure::start();
    let authority = Authority::new();
    let text_of = |name: &str| match name {
        "key" => authority.key(KINDS[0].0),
        name => authority.certificates(&[name]),
    };
    let leaf = KINDS[0].0;
    for (at, set) in [
        &["key", leaf, "inter-2", "inter-1"][..],
        &[leaf, "inter-2", "inter-1", "root"],
        &[leaf, "inter-2", "inter-1"],
    ]
    .iter()
    .enumerate()
    {
        let expected: String = set.iter().map(|name| text_of(name)).collect();
        let orders = permutations(set);
        let secrets = orders.iter().enumerate().flat_map(|(index, order)| {
            let text: String = order.iter().map(|name| text_of(name)).collect();
            let pem = stored(&format!("pem-{at}-{index}"), &text, PEM);
            // `openssl` puts the certificate of a key first.
            let pfx = (!order.contains(&"key")).then(|| {
                let pfx = authority.pfx(None, &text, &[]);
                stored(&format!("pfx-{at}-{index}"), &pfx, PFX)
            });
            [Some(pem), pfx].into_iter().flatten()
        });
        let secrets: Vec<Stored> = secrets.collect();
        for (name, text) in written(&azure, &secrets, "pem") {
            assert_eq!(text, expected, "{name}");
        }
    }
}

type Row<'a> = (
    &'a str,
    String,
    Option<&'a str>,
    &'a str,
    Result<String, i32>,
);

/// Runs `get` for each row: a case, the secret and its content type, the options, and the value or the exit code.
#[track_caller]
fn check(rows: Vec<Row<'_>>) {
    let azure = Azure::start();
    for (index, (case, value, content_type, options, expected)) in rows.into_iter().enumerate() {
        let name = format!("secret-{index}");
        azure.put(stored(&name, &value, content_type));
        let reference = format!("akv://{}/{name}?{options}", azure.vault());
        let run = akv_init(["get", &reference])
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault());
        match expected {
            Ok(expected) => assert_eq!(run.outcome().stdout_alone(), expected, "{case}"),
            Err(code) => {
                let outcome = run.json().outcome();
                assert_eq!(outcome.code, Some(code), "{case}: {}", outcome.stderr);
                // No line of the secret is in a message.
                let mut lines = value
                    .lines()
                    .filter(|line| line.len() > 20 && !line.starts_with("-----"));
                assert!(!lines.any(|line| outcome.stderr.contains(line)), "{case}");
                let cause = if code == 66 { "not found" } else { "config" };
                outcome.failure(code, cause).names(&name);
            }
        }
    }
}

#[test]
fn parts() {
    let authority = Authority::new();
    let leaf = KINDS[0].0;
    let (key, own) = (authority.key(leaf), authority.certificates(&[leaf]));
    let issuers = authority.certificates(&CHAIN);
    let pem = [&*key, &issuers, &own].concat();
    let pfx = authority.pfx(Some(leaf), &[&*own, &issuers].concat(), &[]);
    let chain = [&*own, &issuers].concat();
    let mut rows = Vec::new();
    for (value, content_type) in [(&pem, PEM), (&pem, None), (&pfx, PFX)] {
        for (part, expected) in [
            ("pem", [&*key, &chain].concat()),
            ("pem=all", [&*key, &chain].concat()),
            ("pem=chain", chain.clone()),
            ("pem=leaf", own.clone()),
            ("pem=ca", issuers.clone()),
            ("pem=key", key.clone()),
            ("trim&pem=leaf", own.trim_end().to_owned()),
            ("pem=leaf&encode=base64", BASE64_STANDARD.encode(&own)),
            ("encode=json&pem=key", key.replace('\n', "\\n")),
        ] {
            rows.push((part, value.clone(), content_type, part, Ok(expected)));
        }
    }
    check(rows);
}

/// Without PEM of a certificate, the rows of what `pem` makes of a secret.
#[test]
fn edge_cases() {
    let authority = Authority::new();
    let leaf = KINDS[0].0;
    authority.issue("other", KINDS[0].1, Some("inter-2"));
    // Without the id of its key.
    let words = [
        "req",
        "-x509",
        "-new",
        "-key",
        "other.key",
        "-subj",
        "/CN=bare",
    ];
    let issuer = [
        "-CA",
        "inter-2.pem",
        "-CAkey",
        "inter-2.key",
        "-days",
        "3000",
    ];
    let without_id = ["-addext", "subjectKeyIdentifier=none", "-out", "bare.pem"];
    openssl(
        authority.dir(),
        words.into_iter().chain(issuer).chain(without_id),
    );
    // Each names the other as its issuer.
    for (name, subject, issuer) in [("a", "one", "two"), ("b", "two", "one")] {
        authority.certify("issuer.pem", "other.key", issuer, None);
        fs::copy(
            authority.dir().join("other.key"),
            authority.dir().join("issuer.key"),
        )
        .unwrap();
        authority.certify(&format!("{name}.pem"), "other.key", subject, Some("issuer"));
    }
    let certificates = |names: &[&str]| authority.certificates(names);
    let (key, own) = (authority.key(leaf), certificates(&[leaf]));
    let with_key = [&*key, &own].concat();
    let openssl_text = |words: &[&str]| {
        String::from_utf8(openssl(authority.dir(), words.iter().copied())).unwrap()
    };
    let key_file = format!("{leaf}.key");
    let sec1 = openssl_text(&["pkey", "-in", &key_file, "-traditional"]);
    let encrypted = openssl_text(&["pkcs8", "-topk8", "-in", &key_file, "-passout", "pass:x"]);
    let old = openssl_text(&["ec", "-in", &key_file, "-aes128", "-passout", "pass:x"]);
    let described = openssl_text(&["x509", "-in", &format!("{leaf}.pem"), "-text"]);
    let pfx = |options: &[&str]| authority.pfx(Some(leaf), &own, options);
    let modern = pfx(&[]);
    let in_lines: String = modern
        .as_bytes()
        .chunks(76)
        .map(|line| format!("{}\r\n", str::from_utf8(line).unwrap()))
        .collect();
    let one_line = |text: &str| text.replace('\n', "\\n");
    check(vec![
        ("no private key", own.clone(), PEM, "pem=key", Err(66)),
        (
            "no private key in a PFX",
            authority.pfx(None, &own, &[]),
            PFX,
            "pem=key",
            Err(66),
        ),
        (
            "all without a private key",
            own.clone(),
            PEM,
            "pem",
            Ok(own.clone()),
        ),
        (
            "all of a PFX without a private key",
            authority.pfx(None, &own, &[]),
            PFX,
            "pem",
            Ok(own.clone()),
        ),
        (
            "self-signed",
            certificates(&["root"]),
            PEM,
            "pem=ca",
            Err(66),
        ),
        (
            "self-signed, the leaf",
            certificates(&["root"]),
            PEM,
            "pem=leaf",
            Ok(certificates(&["root"])),
        ),
        ("no certificate", key.clone(), PEM, "pem=chain", Err(66)),
        (
            "no certificate, the issuers",
            key.clone(),
            PEM,
            "pem=ca",
            Err(66),
        ),
        (
            "no certificate, the leaf",
            key.clone(),
            PEM,
            "pem=leaf",
            Err(66),
        ),
        (
            "all without a certificate",
            key.clone(),
            PEM,
            "pem",
            Ok(key.clone()),
        ),
        (
            "no intermediate",
            certificates(&["root", leaf]),
            PEM,
            "pem",
            Ok(certificates(&[leaf, "root"])),
        ),
        (
            "a gap",
            certificates(&["root", "inter-2", leaf]),
            PEM,
            "pem",
            Ok(certificates(&[leaf, "inter-2", "root"])),
        ),
        (
            "two leaves",
            certificates(&["root", leaf, "other", "inter-2", "inter-1"]),
            PEM,
            "pem",
            Ok(certificates(&[leaf, "inter-2", "inter-1", "root", "other"])),
        ),
        (
            "a leaf without the id of its key",
            certificates(&["root", "inter-1", "inter-2", "bare"]),
            PEM,
            "pem",
            Ok(certificates(&["bare", "inter-2", "inter-1", "root"])),
        ),
        (
            "a circle",
            certificates(&["a", "b"]),
            PEM,
            "pem",
            Ok(certificates(&["a", "b"])),
        ),
        (
            "a circle, the other first",
            certificates(&["b", "a"]),
            PEM,
            "pem",
            Ok(certificates(&["b", "a"])),
        ),
        (
            "one certificate twice",
            certificates(&[leaf, "inter-2", leaf]),
            PEM,
            "pem",
            Ok(certificates(&[leaf, "inter-2", leaf])),
        ),
        (
            "text between blocks",
            format!("Bag Attributes\n  x: y\n{key}Key\n{described}tail"),
            PEM,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "CR LF",
            with_key.replace('\n', "\r\n"),
            PEM,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "no last newline",
            with_key.trim_end().to_owned(),
            PEM,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "a byte order mark",
            format!("\u{feff}{with_key}"),
            PEM,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "two characters for a newline",
            one_line(&with_key),
            None,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "four characters for a newline",
            with_key.replace('\n', "\\r\\n"),
            None,
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "blanks for newlines",
            own.replace("-----\n", "----- ")
                .replace('\n', " ")
                .replace(" -----END", "\n-----END"),
            None,
            "pem",
            Ok(own.clone()),
        ),
        ("SEC1", sec1.clone(), PEM, "pem=key", Ok(sec1)),
        (
            "encrypted",
            encrypted.clone(),
            PEM,
            "pem=key",
            Ok(encrypted),
        ),
        (
            "encrypted with headers",
            old.clone(),
            PEM,
            "pem=key",
            Ok(old),
        ),
        (
            "another content type",
            with_key.clone(),
            Some("text/plain"),
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "encoded a second time",
            BASE64_STANDARD.encode(&modern),
            PFX,
            "pem",
            Err(78),
        ),
        ("a PFX in lines", in_lines, PFX, "pem", Ok(with_key.clone())),
        (
            "a PFX by a type in other letters",
            modern.clone(),
            Some("Application/X-PKCS12"),
            "pem",
            Ok(with_key.clone()),
        ),
        (
            "a PFX without the content type",
            modern.clone(),
            None,
            "pem",
            Err(78),
        ),
        ("a PFX as PEM", modern.clone(), PEM, "pem", Err(78)),
        ("PEM as a PFX", with_key.clone(), PFX, "pem", Err(78)),
        (
            "a PFX with a password",
            pfx(&["-passout", "pass:x"]),
            PFX,
            "pem",
            Err(78),
        ),
        (
            "an unknown cipher",
            pfx(&["-keypbe", "CAMELLIA-256-CBC"]),
            PFX,
            "pem",
            Err(78),
        ),
        (
            "too many iterations",
            pfx(&["-iter", "600001"]),
            PFX,
            "pem",
            Err(78),
        ),
        (
            "half of a PFX",
            modern[..modern.len() / 8 * 4].to_owned(),
            PFX,
            "pem",
            Err(78),
        ),
        ("nothing", String::new(), None, "pem", Err(78)),
        (
            "a password",
            "hunter2, which is the password".to_owned(),
            None,
            "pem",
            Err(78),
        ),
        (
            "broken base64",
            own.replacen("MII", "M!I", 1),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "broken DER",
            own.replacen("MII", "AII", 1),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "a broken key",
            key.replacen("\nMI", "\nAI", 1),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "bytes behind the DER",
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                BASE64_STANDARD.encode(b"\x30\x00\x00")
            ),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "a block without an end",
            own.replace("-----END", "-----"),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "one block in another",
            own.replacen("MII", "-----BEGIN X-----", 1),
            PEM,
            "pem",
            Err(78),
        ),
        (
            "another block",
            own.replace("CERTIFICATE", "PUBLIC KEY"),
            PEM,
            "pem",
            Err(78),
        ),
    ]);
}

#[test]
fn parts_of_one_certificate_are_one_request() {
    let azure = Azure::start();
    let authority = Authority::new();
    let leaf = KINDS[0].0;
    let (key, own) = (authority.key(leaf), authority.certificates(&[leaf]));
    azure.put(stored("tls", &authority.pfx(Some(leaf), &own, &[]), PFX));
    let reference = |part: &str| format!("akv://{}/tls?pem={part}", azure.vault());
    let run = exec(&azure, NO_OPTIONS).printing(&["chain", "key"].map(reference));
    let outcome = run.outcome();
    assert_eq!(outcome.stdout_alone(), format!("{own}\n{key}\n"));
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
}

#[test]
fn certificate_may_be_missing_and_not_be_pending() {
    let azure = Azure::start();
    // The secret of a certificate that is not signed yet.
    azure.put(Stored {
        enabled: false,
        ..stored("pending", "", PEM)
    });
    let run = |name: &str, options: &str| {
        let reference = format!("S=akv://{}/{name}?pem{options}", azure.vault());
        exec(
            &azure,
            [
                "--secret",
                &reference,
                "--",
                "/bin/sh",
                "-c",
                "echo ${S-none}",
            ],
        )
    };
    let outcome = run("absent", "&optional").outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "none\n"));
    run("absent", "").failure(66, "not found");
    run("pending", "&optional").failure(66, "not found");
}

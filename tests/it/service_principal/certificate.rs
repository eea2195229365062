//! The certificate of a service principal: the JWT that it signs, checked as Entra checks it, and files that hold none
//! or the wrong one. The stand-in verifies the signature; here is what it would forgive.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::azure::{APPLICATION, Answer, Azure, Door, OTHER_TENANT, TENANT};
use crate::network::wire::assert_got_it;
use crate::support::Outcome;
use crate::support_identities::{Source, assert_token, only_request};

const HERE: Source = Source::Certificate;

/// Header and claims of the assertion that was sent last.
fn sent(azure: &Azure) -> (Value, Value) {
    let request = azure.requests_at(Door::Login).pop().unwrap();
    let jwt = request.form("client_assertion").unwrap();
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3, "{jwt}");
    let read = |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
    // The signature is base64url without padding, too, and as long as the key.
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 256);
    (read(parts[0]).unwrap(), read(parts[1]).unwrap())
}

/// The certificates in the stand-in's file, leaf first.
fn certificates(azure: &Azure) -> Vec<CertificateDer<'static>> {
    let pem = fs::read(azure.certificate_file()).unwrap();
    CertificateDer::pem_slice_iter(&pem)
        .map(Result::unwrap)
        .collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// T15, the first part.
#[test]
fn t15_the_assertion_is_this_and_nothing_else() {
    let azure = Azure::start();
    let before = now();
    assert_got_it(&HERE.exec(&azure, &[]).outcome());
    let after = now();
    let request = only_request(&azure, Door::Login);
    assert_eq!(
        request.form("client_assertion_type").as_deref(),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    assert_eq!(request.form("client_secret"), None);
    let (header, mut claims) = sent(&azure);
    let thumbprint = digest(&SHA256, &certificates(&azure)[0]);
    assert_eq!(
        header,
        json!({
            "alg": "PS256", "typ": "JWT",
            "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(thumbprint),
        })
    );
    let mut take = |name: &str| claims.as_object_mut().unwrap().remove(name).unwrap();
    let (begins, ends) = (take("nbf").as_i64().unwrap(), take("exp").as_i64().unwrap());
    assert!(
        (before - 120..=after - 60).contains(&begins),
        "{begins} for {before}"
    );
    assert!(
        (before + 300..=after + 600).contains(&ends),
        "{ends} for {before}"
    );
    assert_eq!(take("jti").as_str().unwrap().len(), 36);
    assert_eq!(
        claims,
        json!({
            "aud": format!("{}/{TENANT}/oauth2/v2.0/token", azure.login()),
            "iss": APPLICATION, "sub": APPLICATION,
        })
    );
}

/// T15, the second part: base64 of DER, not of PEM, and the leaf first.
#[test]
fn t15_the_chain_is_sent_where_it_is_asked_for() {
    let azure = Azure::start();
    let chain: Vec<String> = certificates(&azure)
        .iter()
        .map(|der| BASE64_STANDARD.encode(der))
        .collect();
    assert_eq!(chain.len(), 2);
    for (value, expected) in [
        ("1", Some(&chain)),
        ("true", Some(&chain)),
        ("TRUE", Some(&chain)),
        ("0", None),
        ("false", None),
        ("", None),
    ] {
        let run = HERE
            .token(&azure, &[])
            .env("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value);
        assert_token(&azure, &run.outcome());
        let (header, _) = sent(&azure);
        assert_eq!(header["x5c"], json!(expected), "{value}");
    }
}

#[test]
fn each_try_signs_anew() {
    let azure = Azure::start();
    azure.next(Door::Login, Answer::status(503));
    assert_token(&azure, &HERE.token(&azure, &[]).outcome());
    let ids: Vec<Value> = azure
        .requests_at(Door::Login)
        .iter()
        .map(|request| {
            let jwt = request.form("client_assertion").unwrap();
            let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap());
            serde_json::from_slice::<Value>(&claims.unwrap()).unwrap()["jti"].take()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

/// Its audience is the token endpoint that is really asked, also where a vault has named another tenant.
#[test]
fn an_assertion_for_another_tenant_is_signed_for_that_tenant() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    assert_got_it(&HERE.exec(&azure, &[]).outcome());
    let (_, claims) = sent(&azure);
    assert_eq!(
        claims["aud"],
        format!("{}/{OTHER_TENANT}/oauth2/v2.0/token", azure.login())
    );
}

/// Parts of the stand-in's file, by the word in their PEM labels.
fn parts(azure: &Azure, label: &str) -> String {
    let pem = fs::read_to_string(azure.certificate_file()).unwrap();
    let begin = format!("-----BEGIN {label}-----");
    pem.split_inclusive("-----END ")
        .zip(pem.split("-----END ").skip(1))
        .filter_map(|(part, _)| Some(part[part.find(&begin)?..].to_owned()))
        .map(|part| format!("{part}{label}-----\n"))
        .collect()
}

fn with_file(azure: &Azure, name: &str, content: impl AsRef<[u8]>) -> (PathBuf, Outcome) {
    let path = azure.dir().join(name);
    fs::write(&path, content).unwrap();
    let run = HERE
        .token(azure, &[])
        .env("AZURE_CLIENT_CERTIFICATE_PATH", &path);
    (path, run.outcome())
}

#[test]
fn the_order_of_the_file_does_not_matter() {
    let azure = Azure::start();
    let (key, certificates) = (parts(&azure, "PRIVATE KEY"), parts(&azure, "CERTIFICATE"));
    assert!(key.contains("-----END PRIVATE KEY-----"));
    let (_, outcome) = with_file(
        &azure,
        "swapped.pem",
        format!(
            "Bag Attributes\n  friendlyName: app\n{certificates}Key Attributes: <No Attributes>\n{key}"
        ),
    );
    assert_token(&azure, &outcome);
}

/// The key as openssl writes it with `-traditional`.
#[test]
fn a_key_in_pkcs1_does_too() {
    let azure = Azure::start();
    let key = KeyPair::from_pem(&parts(&azure, "PRIVATE KEY")).unwrap();
    // PKCS#8 wraps PKCS#1 behind 26 bytes: version, algorithm, and the header of the octet string.
    let pkcs1 = BASE64_STANDARD.encode(&key.serialize_der()[26..]);
    let (_, outcome) = with_file(
        &azure,
        "pkcs1.pem",
        format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{pkcs1}\n-----END RSA PRIVATE KEY-----\n{}",
            parts(&azure, "CERTIFICATE")
        ),
    );
    assert_token(&azure, &outcome);
}

#[test]
fn a_file_that_cannot_be_used_says_what_is_wrong_with_it() {
    let azure = Azure::start();
    let (key, certificates) = (parts(&azure, "PRIVATE KEY"), parts(&azure, "CERTIFICATE"));
    let elliptic = KeyPair::generate().unwrap();
    let of_it = CertificateParams::default().self_signed(&elliptic).unwrap();
    let pfx = "openssl pkcs12 -nodes -in FILE -out client.pem";
    // Not without the second command: the first one leaves the certificate out.
    let key_only = "(openssl pkey -in FILE; openssl x509 -in FILE) > client.pem";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkq\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIFHDBOBgkq\n\
               -----END RSA PRIVATE KEY-----\n";
    for (name, content, why, command) in [
        (
            "app.pfx",
            b"\x30\x82\x0a\x5e\x02\x01\x03\x30".to_vec(),
            "this is a PFX, not PEM",
            Some(pfx),
        ),
        (
            "encrypted.pem",
            format!("{encrypted}{certificates}").into_bytes(),
            "its key is encrypted",
            Some(key_only),
        ),
        (
            "old.pem",
            format!("{old}{certificates}").into_bytes(),
            "its key is encrypted",
            Some(key_only),
        ),
        (
            "key.pem",
            key.clone().into_bytes(),
            "there is no certificate in it",
            None,
        ),
        (
            "certificate.pem",
            certificates.into_bytes(),
            "there is no private key in it",
            None,
        ),
        (
            "empty.pem",
            Vec::new(),
            "there is no certificate in it",
            None,
        ),
        (
            "elliptic.pem",
            [elliptic.serialize_pem(), of_it.pem()]
                .concat()
                .into_bytes(),
            "its key is not an RSA key of 2048 bits or more",
            None,
        ),
    ] {
        let (path, outcome) = with_file(&azure, name, content);
        let line = format!(
            "error: {}: AZURE_CLIENT_CERTIFICATE_PATH: `{}`: {why}",
            HERE.asking(&azure),
            path.display()
        );
        let hint = command.map(|command| {
            let command = command.replace("FILE", &path.display().to_string());
            format!("hint: convert it: {command}")
        });
        let lines: Vec<&str> = std::iter::once(line.as_str())
            .chain(hint.as_deref())
            .collect();
        outcome.failed(78, &lines);
    }
    assert_eq!(azure.requests_at(Door::Login).len(), 0);
}

/// Of another application, or of this one before it was renewed.
#[test]
fn a_certificate_that_is_not_registered_is_refused_once() {
    let azure = Azure::start();
    let key = KeyPair::from_pem(&parts(&azure, "PRIVATE KEY")).unwrap();
    let other = CertificateParams::default().self_signed(&key).unwrap();
    let (_, outcome) = with_file(
        &azure,
        "other.pem",
        [key.serialize_pem(), other.pem()].concat(),
    );
    let line = format!(
        "error: {}: 401 Unauthorized (invalid_client): AADSTS700027: The certificate with identifier used to sign the \
         client assertion is not registered on application; trace id 7d4b9c1e-3f52-4a86-9e0d-6c8a2b5f0100; correlation \
         id e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b; at 2026-01-20 22:54:42Z",
        HERE.asking(&azure)
    );
    outcome.failed(
        77,
        &[
            &line,
            "hint: is this certificate one of the application's, and not expired?",
        ],
    );
    only_request(&azure, Door::Login);
}

/// 700024: our clock or Entra's is wrong, and one more try tells which moment it was.
#[test]
fn an_assertion_out_of_its_time_is_signed_once_more() {
    let azure = Azure::start();
    let late = || {
        Answer::aadsts(
            700_024,
            "Client assertion is not within its valid time range.",
        )
    };
    azure.next(Door::Login, late());
    assert_token(&azure, &HERE.token(&azure, &[]).outcome());
    azure.always(Door::Login, late());
    let outcome = HERE.token(&azure, &[]).outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let hint = outcome.hint().unwrap_or_default();
    assert!(
        hint.starts_with("is this machine's clock right? It says 20"),
        "{hint}"
    );
    assert_eq!(azure.requests_at(Door::Login).len(), 4);
}

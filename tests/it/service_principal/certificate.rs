//! The certificate of a service principal: the assertion that it signs, and files without a usable certificate. The fake
//! Azure verifies the signature.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::azure::{APPLICATION, Azure, Endpoint, OTHER_TENANT, Response, TENANT};
use crate::support::Run;
use crate::support_identities::{Source, assert_token, only_request};
use crate::support_openssl::{ENCRYPTIONS, openssl};
use crate::support_requests::assert_got_it;

const SOURCE: Source = Source::Certificate;

/// Header and claims of the last assertion.
fn sent(azure: &Azure) -> (Value, Value) {
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    let jwt = request.form("client_assertion").unwrap();
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3, "{jwt}");
    let read = |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
    // The signature is base64url without padding, too, and as long as the key.
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 256);
    (read(parts[0]).unwrap(), read(parts[1]).unwrap())
}

/// The certificates of the application's file, leaf first.
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

#[test]
fn assertion_is_as_documented() {
    let azure = Azure::start();
    let before = now();
    assert_got_it(&SOURCE.exec(&azure, &[]).outcome());
    let after = now();
    let request = only_request(&azure, Endpoint::Login);
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

/// Base64 of DER, not of PEM, and the leaf first.
#[test]
fn chain_is_sent_where_the_setting_says_so() {
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
        let run = SOURCE
            .token(&azure, &[])
            .env("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value);
        assert_token(&azure, &run.outcome());
        let (header, _) = sent(&azure);
        assert_eq!(header["x5c"], json!(expected), "{value}");
    }
}

#[test]
fn each_attempt_signs_a_new_assertion() {
    let azure = Azure::start();
    azure.next(Endpoint::Login, Response::status(503));
    assert_token(&azure, &SOURCE.token(&azure, &[]).outcome());
    let ids: Vec<Value> = azure
        .requests_at(Endpoint::Login)
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

/// Its audience is the token endpoint of that tenant.
#[test]
fn assertion_for_the_tenant_that_the_vault_names_has_its_audience() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    assert_got_it(&SOURCE.exec(&azure, &[]).outcome());
    let (_, claims) = sent(&azure);
    assert_eq!(
        claims["aud"],
        format!("{}/{OTHER_TENANT}/oauth2/v2.0/token", azure.login())
    );
}

/// The parts of the application's file with this PEM label.
fn parts(azure: &Azure, label: &str) -> String {
    let pem = fs::read_to_string(azure.certificate_file()).unwrap();
    let begin = format!("-----BEGIN {label}-----");
    pem.split_inclusive("-----END ")
        .zip(pem.split("-----END ").skip(1))
        .filter_map(|(part, _)| Some(part[part.find(&begin)?..].to_owned()))
        .map(|part| format!("{part}{label}-----\n"))
        .collect()
}

fn with_file(azure: &Azure, name: &str, content: impl AsRef<[u8]>) -> (PathBuf, Run) {
    let path = azure.dir().join(name);
    fs::write(&path, content).unwrap();
    let run = SOURCE
        .token(azure, &[])
        .env("AZURE_CLIENT_CERTIFICATE_PATH", &path);
    (path, run)
}

#[test]
fn order_of_key_and_certificate_is_free() {
    let azure = Azure::start();
    let (key, certificates) = (parts(&azure, "PRIVATE KEY"), parts(&azure, "CERTIFICATE"));
    assert!(key.contains("-----END PRIVATE KEY-----"));
    let (_, run) = with_file(
        &azure,
        "swapped.pem",
        format!(
            "Bag Attributes\n  friendlyName: app\n{certificates}Key Attributes: <No Attributes>\n{key}"
        ),
    );
    assert_token(&azure, &run.outcome());
}

/// As `openssl -traditional` writes it.
#[test]
fn key_may_be_pkcs1() {
    let azure = Azure::start();
    let key = KeyPair::from_pem(&parts(&azure, "PRIVATE KEY")).unwrap();
    // PKCS#8 wraps PKCS#1 behind 26 bytes: version, algorithm, and the header of the octet string.
    let pkcs1 = BASE64_STANDARD.encode(&key.serialize_der()[26..]);
    let (_, run) = with_file(
        &azure,
        "pkcs1.pem",
        format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{pkcs1}\n-----END RSA PRIVATE KEY-----\n{}",
            parts(&azure, "CERTIFICATE")
        ),
    );
    assert_token(&azure, &run.outcome());
}

/// A PFX with the application's key and certificates, made by `openssl` with a password.
fn pfx(azure: &Azure, options: &[&str], password: &str) -> PathBuf {
    let (pem, password) = (azure.certificate_file(), format!("pass:{password}"));
    let export = [
        "pkcs12",
        "-export",
        "-out",
        "client.pfx",
        "-passout",
        &password,
    ];
    let input = ["-in", pem.to_str().unwrap()];
    openssl(azure.dir(), [&export[..], &input, options].concat());
    azure.dir().join("client.pfx")
}

#[test]
fn certificate_may_be_a_pfx() {
    let azure = Azure::start();
    let chain: Vec<String> = certificates(&azure)
        .iter()
        .map(|der| BASE64_STANDARD.encode(der))
        .collect();
    for (encryption, options) in ENCRYPTIONS {
        for password in ["", "p", "pä$ word, ಠ_ಠ 𝄞"] {
            let path = pfx(&azure, options, password);
            let run = SOURCE
                .token(&azure, &[])
                .env("AZURE_CLIENT_CERTIFICATE_PATH", &path)
                .env("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)
                .env("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "1");
            let outcome = run.outcome();
            assert_eq!(
                outcome.code,
                Some(0),
                "{encryption}, {password}: {}",
                outcome.stderr
            );
            assert_eq!(sent(&azure).0["x5c"], json!(chain), "{encryption}");
        }
    }
}

/// The password is of a PFX alone: SDKs ignore it for a key that is not encrypted.
#[test]
fn password_is_ignored_for_pem() {
    let azure = Azure::start();
    let run = SOURCE
        .token(&azure, &[])
        .env("AZURE_CLIENT_CERTIFICATE_PASSWORD", "LEAK");
    assert_token(&azure, &run.outcome());
}

#[test]
fn pfx_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let elliptic = KeyPair::generate().unwrap();
    let of_it = CertificateParams::default().self_signed(&elliptic).unwrap();
    let ec_pem = azure.dir().join("elliptic.pem");
    fs::write(&ec_pem, [elliptic.serialize_pem(), of_it.pem()].concat()).unwrap();
    let elliptic = &["-in", ec_pem.to_str().unwrap()][..];
    let none: &[&str] = &[];
    for (options, password, given, hint) in [
        (none, "", "LEAK", Some("AZURE_CLIENT_CERTIFICATE_PASSWORD")),
        (none, "LEAK", "", Some("AZURE_CLIENT_CERTIFICATE_PASSWORD")),
        (
            none,
            "LEAK",
            "LEAk",
            Some("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        ),
        (
            &["-legacy", "-nomac"],
            "LEAK",
            "LEAk",
            Some("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        ),
        (
            &["-keypbe", "CAMELLIA-256-CBC"],
            "",
            "",
            Some("openssl pkcs12"),
        ),
        (
            &["-legacy", "-certpbe", "PBE-SHA1-RC4-128"],
            "",
            "",
            Some("openssl pkcs12"),
        ),
        (&["-macalg", "sha224"], "", "", Some("openssl pkcs12")),
        (&["-iter", "600001"], "", "", Some("openssl pkcs12")),
        (&["-nokeys"], "", "", None),
        (&["-nocerts"], "", "", None),
        (elliptic, "", "", None),
    ] {
        let path = pfx(&azure, options, password);
        let run = SOURCE
            .token(&azure, &[])
            .env("AZURE_CLIENT_CERTIFICATE_PATH", &path)
            .env("AZURE_CLIENT_CERTIFICATE_PASSWORD", given);
        let failure = run.failure(78, "config");
        failure
            .names("AZURE_CLIENT_CERTIFICATE_PATH")
            .names(path.to_str().unwrap())
            .omits("LEA");
        match hint {
            Some(hint) => failure.hint_names(hint),
            None => failure.unhinted(),
        };
    }
    // Cut off at every hundredth byte.
    let path = pfx(&azure, &[], "");
    let content = fs::read(&path).unwrap();
    for end in (1..content.len()).step_by(100) {
        let (_, run) = with_file(&azure, "cut.pfx", &content[..end]);
        run.failure(78, "config").names("cut.pfx");
    }
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 0);
}

#[test]
fn certificate_file_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let (key, certificates) = (parts(&azure, "PRIVATE KEY"), parts(&azure, "CERTIFICATE"));
    let elliptic = KeyPair::generate().unwrap();
    let of_it = CertificateParams::default().self_signed(&elliptic).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkq\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIFHDBOBgkq\n\
               -----END RSA PRIVATE KEY-----\n";
    let elliptic = [elliptic.serialize_pem(), of_it.pem()].concat();
    for (name, content, hint) in [
        (
            "app.cer",
            CertificateDer::from_pem_slice(certificates.as_bytes())
                .unwrap()
                .to_vec(),
            false,
        ),
        (
            "encrypted.pem",
            format!("{encrypted}{certificates}").into(),
            true,
        ),
        ("old.pem", format!("{old}{certificates}").into(), true),
        ("key.pem", key.into_bytes(), false),
        ("certificate.pem", certificates.clone().into(), false),
        ("empty.pem", Vec::new(), false),
        ("elliptic.pem", elliptic.into_bytes(), false),
    ] {
        let (path, run) = with_file(&azure, name, content);
        let failure = run.failure(78, "config");
        let path = path.to_str().unwrap();
        failure.names("AZURE_CLIENT_CERTIFICATE_PATH").names(path);
        match hint {
            // A command to convert the file.
            true => failure.hint_names("openssl").hint_names(path),
            false => failure.unhinted(),
        };
    }
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 0);
}

#[test]
fn certificate_that_is_not_registered_is_denied_after_one_request() {
    let azure = Azure::start();
    let key = KeyPair::from_pem(&parts(&azure, "PRIVATE KEY")).unwrap();
    let other = CertificateParams::default().self_signed(&key).unwrap();
    let pem = [key.serialize_pem(), other.pem()].concat();
    let (pem_path, run) = with_file(&azure, "other.pem", pem);
    let failure = run.failure(77, "denied");
    let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, other.der());
    let hex = |byte: &u8| format!("{byte:02X}");
    let thumbprint: String = thumbprint.as_ref().iter().map(hex).collect();
    failure.names("AADSTS700027").hint_names(&thumbprint);
    only_request(&azure, Endpoint::Login);
    let path = pfx(&azure, &["-in", pem_path.to_str().unwrap()], "");
    let run = SOURCE
        .token(&azure, &[])
        .env("AZURE_CLIENT_CERTIFICATE_PATH", path);
    run.failure(77, "denied").hint_names(&thumbprint);
}

/// One of the clocks is wrong, or was for a moment.
#[test]
fn assertion_outside_its_validity_is_signed_once_more() {
    let azure = Azure::start();
    let text = "Client assertion is not within its valid time range.";
    let late = || Response::aadsts(700_024, text);
    azure.next(Endpoint::Login, late());
    assert_token(&azure, &SOURCE.token(&azure, &[]).outcome());
    azure.always(Endpoint::Login, late());
    let failure = SOURCE.token(&azure, &[]).failure(77, "denied");
    // The machine's time.
    failure.names("AADSTS700024").hint_names(" UTC");
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 4);
}

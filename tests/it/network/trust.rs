//! Whom TLS trusts, and what is said about a certificate that is not trusted.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::thread;

use super::wire::{NAME, assert_got_it, connections, counts, one_secret, one_secret_federated};
use crate::azure::{Azure, Certificate, Door};
use crate::support::exec;

const TRUST_HINT: &str =
    "hint: behind a proxy that intercepts TLS, give its CA with SSL_CERT_FILE or --ca-file";

fn reading(azure: &Azure) -> String {
    format!(
        "error: reading secret `{NAME}` from {} for S",
        azure.vault()
    )
}

#[test]
fn an_authority_that_nobody_named_is_not_trusted() {
    let azure = Azure::start();
    let line = format!(
        "{}: the certificate is signed by nobody who is trusted here",
        reading(&azure)
    );
    for run in [
        one_secret(&azure, &[]).without("SSL_CERT_FILE"),
        one_secret(&azure, &[]).env("SSL_CERT_FILE", ""),
    ] {
        run.outcome().failed(76, &[&line, TRUST_HINT]);
    }
    assert_eq!(counts(&azure), [2, 0, 0], "no token was sent");
    let outcome = one_secret_federated(&azure, &[])
        .without("SSL_CERT_FILE")
        .outcome();
    assert_eq!(outcome.code, Some(76));
    assert_eq!(Some(&TRUST_HINT["hint: ".len()..]), outcome.hint());
    assert_eq!(counts(&azure), [2, 0, 0], "no assertion was sent");
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    let azure = Azure::builder()
        .certificate(Door::Vault, Certificate::UnknownAuthority)
        .start();
    let line = format!(
        "{}: the certificate is signed by nobody who is trusted here",
        reading(&azure)
    );
    one_secret(&azure, &[])
        .outcome()
        .failed(76, &[&line, TRUST_HINT]);
    assert_eq!(counts(&azure), [1, 0, 0]);
}

#[test]
fn a_certificate_for_another_name_is_not_trusted() {
    let azure = Azure::builder()
        .certificate(Door::Vault, Certificate::OtherName)
        .start();
    let line = format!("{}: the certificate is for another name", reading(&azure));
    one_secret(&azure, &[]).outcome().failed(
        76,
        &[
            &line,
            "hint: something else answers at this address: look at DNS and at proxies on the way",
        ],
    );
    assert_eq!(counts(&azure), [1, 0, 0]);
}

#[test]
fn a_certificate_whose_time_is_over_is_a_question_of_clocks() {
    let azure = Azure::builder()
        .certificate(Door::Vault, Certificate::Expired)
        .start();
    let mut outcome = one_secret(&azure, &[]).outcome();
    let clock = "It says ";
    let at = outcome.stderr.find(clock).expect("a clock is shown") + clock.len();
    let masked: String = outcome.stderr[at..]
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    outcome.stderr.replace_range(at.., &masked);
    let line = format!("{}: the certificate has expired", reading(&azure));
    outcome.failed(
        76,
        &[
            &line,
            "hint: is this machine's clock right? It says 0000-00-00 00:00:00 UTC; if it is, whoever runs that host, or \
             what intercepts TLS on the way, must renew it",
        ],
    );
    assert_eq!(counts(&azure), [1, 0, 0]);
}

#[test]
fn a_directory_of_certificates_is_trusted_too() {
    let azure = Azure::start();
    let first = azure.dir().join("first");
    let second = azure.dir().join("second");
    for directory in [&first, &second] {
        fs::create_dir(directory).unwrap();
    }
    let another = Azure::start();
    fs::copy(another.ca_file(), first.join("another.pem")).unwrap();
    fs::copy(azure.ca_file(), second.join("ca.crt")).unwrap();
    // As c_rehash leaves it, and whatever else lies there.
    symlink("ca.crt", second.join("0a1b2c3d.0")).unwrap();
    symlink("gone", second.join("4e5f6a7b.0")).unwrap();
    fs::write(second.join("README"), "no certificate").unwrap();
    fs::create_dir(second.join("java")).unwrap();
    let both = format!("{}:{}", first.display(), second.display());
    for list in [second.display().to_string(), both] {
        let run = one_secret(&azure, &[])
            .without("SSL_CERT_FILE")
            .env("SSL_CERT_DIR", list);
        assert_got_it(&run.outcome());
    }
    // The file and the directory add up.
    let run = one_secret(&azure, &[]).env("SSL_CERT_DIR", &first);
    assert_got_it(&run.outcome());
    let run = one_secret(&azure, &[])
        .env("SSL_CERT_FILE", another.ca_file())
        .env("SSL_CERT_DIR", &second);
    assert_got_it(&run.outcome());
}

#[test]
fn the_option_replaces_all_other_trust() {
    let azure = Azure::start();
    let another = Azure::start();
    let good = azure.ca_file().to_str().unwrap();
    let other = another.ca_file().to_str().unwrap();
    for run in [
        one_secret(&azure, &["--ca-file", good]).env("SSL_CERT_FILE", other),
        one_secret(&azure, &["--ca-file", good]).env("SSL_CERT_FILE", "/no/such/file"),
        one_secret(&azure, &["--ca-file", good]).env("AKV_INIT_CA_FILE", other),
        one_secret(&azure, &[])
            .env("AKV_INIT_CA_FILE", good)
            .env("SSL_CERT_FILE", other)
            .env("SSL_CERT_DIR", "/no/such/directory"),
    ] {
        assert_got_it(&run.outcome());
    }
    let line = format!(
        "{}: the certificate is signed by nobody who is trusted here",
        reading(&azure)
    );
    for run in [
        one_secret(&azure, &["--ca-file", other]).env("SSL_CERT_FILE", good),
        one_secret(&azure, &[])
            .env("AKV_INIT_CA_FILE", other)
            .env("SSL_CERT_FILE", good),
    ] {
        run.outcome().failed(76, &[&line, TRUST_HINT]);
    }
}

#[test]
fn several_certificates_in_one_file_are_all_trusted() {
    let azure = Azure::start();
    let another = Azure::start();
    let bundle = azure.dir().join("bundle.pem");
    let text = [another.ca_file(), azure.ca_file()]
        .map(|file| format!("# a comment\n{}\n", fs::read_to_string(file).unwrap()))
        .concat();
    fs::write(&bundle, text).unwrap();
    let bundle = bundle.to_str().unwrap();
    assert_got_it(&one_secret(&azure, &["--ca-file", bundle]).outcome());
}

#[test]
fn a_named_file_that_is_missing_or_holds_no_certificate_is_an_error_before_any_request() {
    let azure = Azure::start();
    let path = |name: &str| azure.dir().join(name).to_str().unwrap().to_owned();
    let (missing, empty, key, text) = (
        path("missing"),
        path("empty"),
        path("leaf.key"),
        path("text"),
    );
    fs::write(&empty, "").unwrap();
    fs::write(&text, "-----BEGIN CERTIFICATE-----\nnot base64!\n").unwrap();
    let pem = Some("hint: it must be PEM: -----BEGIN CERTIFICATE-----");
    let mount =
        Some("hint: it is read for the certificates that are trusted: mount it, or do not name it");
    for (file, why, hint) in [
        (&missing, "No such file or directory (os error 2)", mount),
        (&empty, "no certificate in it", pem),
        (&key, "no certificate in it", pem),
        (&text, "no certificate in it", pem),
    ] {
        for (run, setting) in [
            (
                one_secret(&azure, &["--ca-file", file]),
                "--ca-file or AKV_INIT_CA_FILE",
            ),
            (
                one_secret(&azure, &[]).env("AKV_INIT_CA_FILE", file),
                "--ca-file or AKV_INIT_CA_FILE",
            ),
            (
                one_secret(&azure, &[]).env("SSL_CERT_FILE", file),
                "SSL_CERT_FILE",
            ),
        ] {
            let line = format!("error: {setting}: `{file}`: {why}");
            let lines: Vec<&str> = [Some(line.as_str()), hint].into_iter().flatten().collect();
            run.outcome().failed(78, &lines);
        }
    }
    let nothing = path("nothing");
    fs::create_dir(&nothing).unwrap();
    for (directory, why) in [
        (&missing, "No such file or directory (os error 2)"),
        (&nothing, "no certificate in it"),
        (&empty, "Not a directory (os error 20)"),
    ] {
        let line = format!("error: SSL_CERT_DIR: `{directory}`: {why}");
        one_secret(&azure, &[])
            .env("SSL_CERT_DIR", directory)
            .outcome()
            .failed(78, &[&line]);
    }
    assert_eq!(connections(&azure), 0);
}

/// What the test itself says to its server.
const END: &[u8] = b"the end";

/// A vault's port where something answers in plain http: nothing but the first message of TLS is sent there.
#[test]
fn plain_http_at_the_vaults_port_gets_no_token() {
    let azure = Azure::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut heard = Vec::new();
        loop {
            let mut stream = listener.accept().unwrap().0;
            let mut first = [0; 8 * 1024];
            let length = stream.read(&mut first).unwrap();
            if first[..length] == *END {
                return heard;
            }
            heard.extend_from_slice(&first[..length]);
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            // What else comes, until the client is gone; a reset is as good as an end.
            let _ = stream.read_to_end(&mut heard);
        }
    });
    let words = [
        "--allow-vault",
        &host,
        "--secret",
        &format!("S=akv://{host}/{NAME}"),
        "--",
        "true",
    ];
    let line = format!(
        "error: reading secret `{NAME}` from {host} for S: what answers there does not speak TLS"
    );
    let outcome = exec(&azure, words).outcome();
    TcpStream::connect(&host).unwrap().write_all(END).unwrap();
    let hint = format!(
        "hint: this is no answer of a vault: does something else answer as {host}? Look at DNS, and at proxies and \
         gateways on the way"
    );
    outcome.failed(76, &[&line, &hint]);
    let heard = String::from_utf8_lossy(&server.join().unwrap()).into_owned();
    assert!(!heard.contains("Bearer") && !heard.contains("GET "));
    assert!(azure.tokens().iter().all(|token| !heard.contains(token)));
}

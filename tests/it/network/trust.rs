//! The CAs that TLS trusts, and certificates that it does not trust.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use crate::azure::{Azure, Certificate, Endpoint, Response, Versions};
use crate::support::exec;
use crate::support_requests::{
    NAME, assert_got_it, connections, counts, one_secret, one_secret_federated,
};

#[test]
fn ca_that_no_setting_names_is_not_trusted() {
    let azure = Azure::start();
    for run in [
        one_secret(&azure, &[]).without("SSL_CERT_FILE"),
        one_secret(&azure, &[]).env("SSL_CERT_FILE", ""),
    ] {
        let failure = run.failure(76, "protocol");
        failure.hint_names("SSL_CERT_FILE").hint_names("--ca-file");
    }
    assert_eq!(counts(&azure), [2, 0, 0], "no token was sent");
    let run = one_secret_federated(&azure, &[]).without("SSL_CERT_FILE");
    run.failure(76, "protocol").hinted();
    assert_eq!(counts(&azure), [2, 0, 0], "no assertion was sent");
}

#[test]
fn wrong_certificate_is_rejected_before_a_token_is_sent() {
    for certificate in [
        Certificate::Ca,
        Certificate::LongChain,
        Certificate::Malformed,
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::OfAClient,
        Certificate::OtherKey,
        Certificate::OtherName,
        Certificate::UnknownAuthority,
    ] {
        let azure = Azure::builder()
            .certificate(Endpoint::Vault, certificate)
            .start();
        let failure = one_secret(&azure, &[]).failure(76, "protocol");
        match certificate {
            // The hint has the machine's time.
            Certificate::Expired => failure
                .fact("until", "2021-01-01 00:00:00 UTC")
                .hint_names(" UTC"),
            Certificate::NotYetValid => failure
                .fact("until", "2050-01-01 00:00:00 UTC")
                .hint_names(" UTC"),
            Certificate::UnknownAuthority => {
                let failure = failure.fact("issuer", "Contoso, an unknown CA");
                failure.names("an unknown CA").hint_names("SSL_CERT_FILE")
            }
            Certificate::OtherName => {
                let names = "another.example.com, fd00::1 and 2 more names";
                failure.fact("names", names).names(names)
            }
            Certificate::Malformed => failure.names("malformed").hint_names("X.509"),
            Certificate::OtherKey => failure.names("signature").hint_names("private key"),
            Certificate::Ca => failure.hint_names("CA:FALSE"),
            Certificate::LongChain => failure.names("chain"),
            _ => &failure,
        };
        assert_eq!(counts(&azure), [1, 0, 0], "{certificate:?}");
    }
}

/// The chain of the first connection, which is verified only once, says nothing about the others.
#[test]
fn later_connection_with_another_key_or_chain_is_rejected() {
    for certificate in [Certificate::ThenOtherKey, Certificate::ThenUnknownAuthority] {
        for versions in [Versions::Only12, Versions::Only13] {
            let azure = Azure::builder()
                .certificate(Endpoint::Vault, certificate)
                .versions(versions)
                .start();
            azure.secret("second", "value");
            azure.next(Endpoint::Imds, Response::usual().hold());
            // The first connection is not free for the second secret.
            let slow = Response::usual().delay(Duration::from_secs(2));
            azure.always(Endpoint::Vault, slow);
            let second = format!("SECOND=akv://{}/second", azure.vault());
            let run = one_secret(&azure, &["--secret", &second]).json().spawn();
            azure.wait_for_connections(Endpoint::Vault, 2);
            azure.release();
            run.outcome().failure(76, "protocol");
        }
    }
}

/// A DNS name that holds an address matches no host: addresses have a type of their own.
#[test]
fn address_as_dns_name_is_reported() {
    let azure = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::AddressesAsNames)
        .start();
    let vault = azure.vault().replace("localhost", "127.0.0.1");
    let run = exec(&azure, ["--timeout=0"]).printing(&[format!("akv://{vault}/{NAME}")]);
    let failure = run
        .env("AKV_INIT_ALLOW_VAULT", &vault)
        .failure(76, "protocol");
    failure.names("DNS name");
}

#[test]
fn directory_of_certificates_is_trusted() {
    let azure = Azure::start();
    let first = azure.dir().join("first");
    let second = azure.dir().join("second");
    for directory in [&first, &second] {
        fs::create_dir(directory).unwrap();
    }
    let another = Azure::start();
    for directory in [&first, &second] {
        fs::copy(another.ca_file(), directory.join("another.pem")).unwrap();
    }
    fs::copy(azure.ca_file(), second.join("ca.crt")).unwrap();
    // As c_rehash makes it, and other files.
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
fn ca_file_option_replaces_all_other_trust() {
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
    for run in [
        one_secret(&azure, &["--ca-file", other]).env("SSL_CERT_FILE", good),
        one_secret(&azure, &[])
            .env("AKV_INIT_CA_FILE", other)
            .env("SSL_CERT_FILE", good),
    ] {
        run.failure(76, "protocol");
    }
}

#[test]
fn every_certificate_of_a_file_is_trusted() {
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
fn file_without_a_certificate_is_rejected_before_any_request() {
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
    for file in [&missing, &empty, &key, &text] {
        for (run, setting) in [
            (one_secret(&azure, &["--ca-file", file]), "--ca-file"),
            (
                one_secret(&azure, &[]).env("AKV_INIT_CA_FILE", file),
                "AKV_INIT_CA_FILE",
            ),
            (
                one_secret(&azure, &[]).env("SSL_CERT_FILE", file),
                "SSL_CERT_FILE",
            ),
        ] {
            run.failure(78, "config")
                .names(setting)
                .names(file)
                .hinted();
        }
    }
    let nothing = path("nothing");
    fs::create_dir(&nothing).unwrap();
    for directory in [&missing, &nothing, &empty] {
        let run = one_secret(&azure, &[]).env("SSL_CERT_DIR", directory);
        run.failure(78, "config")
            .names("SSL_CERT_DIR")
            .names(directory);
    }
    assert_eq!(connections(&azure), 0);
}

/// The test's own message to its server.
const END: &[u8] = b"the end";

/// It receives only the first message of TLS.
#[test]
fn plain_http_server_gets_no_token() {
    let azure = Azure::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut received = Vec::new();
        loop {
            let mut stream = listener.accept().unwrap().0;
            let mut first = [0; 8 * 1024];
            let length = stream.read(&mut first).unwrap();
            if first[..length] == *END {
                return received;
            }
            received.extend_from_slice(&first[..length]);
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            // The rest, until the client closes or resets the connection.
            let _ = stream.read_to_end(&mut received);
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
    let outcome = exec(&azure, words).json().outcome();
    TcpStream::connect(&host).unwrap().write_all(END).unwrap();
    outcome
        .failure(76, "protocol")
        .names(&host)
        .hint_names(&host);
    let received = String::from_utf8_lossy(&server.join().unwrap()).into_owned();
    assert!(!received.contains("Bearer") && !received.contains("GET "));
    assert!(azure.tokens().iter().all(|token| !received.contains(token)));
}

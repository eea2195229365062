//! Connections, certificates and proxies.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use nix::sys::resource::Resource;
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, mkfifo};

use super::book::Page;
use super::vault::prod_kv;
use crate::azure::{Azure, Certificate, Endpoint, Response};
use crate::support::Run;
use crate::support_full_queue::FullQueue;
use crate::support_identities::Source;
use crate::support_inherited as inherited;
use crate::support_requests::one_secret;

/// Failed connections.
pub fn connections(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    for endpoint in Endpoint::ALL {
        azure.close(endpoint);
    }
    let one_try = |source: Source| source.token(&azure, &["--timeout=0"]);
    for source in [
        Source::Imds,
        Source::AppService,
        Source::Arc,
        Source::Workload,
    ] {
        page.run(one_try(source));
    }
    azure.open(Endpoint::Imds);
    let imds = |base: &str, seconds: u32| {
        Source::Imds
            .token(&azure, &[&format!("--timeout={seconds}")])
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", base)
    };
    let full = FullQueue::new();
    let base = format!("http://{}", full.address());
    page.replace(&base, "http://169.254.169.254");
    let longest = [5, 1].map(|seconds| imds(&base, seconds).spawn());
    page.run(one_secret(&azure, &["--timeout=0"]));
    page.run(imds("http://255.255.255.255", 0));
    for answer in [Response::fin(), Response::reset()] {
        azure.next(Endpoint::Imds, answer);
        page.run(one_try(Source::Imds));
    }
    // Besides the standard ones, what the main thread waits for.
    let few = |command: &mut _| {
        inherited::only_standard_descriptors(command);
        inherited::limit(command, Resource::RLIMIT_NOFILE, 5, 5);
    };
    page.run(one_try(Source::Imds).without("SSL_CERT_FILE").with(few));
    azure.mute(Endpoint::Imds);
    page.run(imds(&azure.imds(), 2));
    for running in longest {
        page.record(&running.outcome());
    }
}

pub fn certificates(page: &mut Page) {
    for certificate in [
        Certificate::UnknownAuthority,
        Certificate::OtherName,
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::OfAClient,
        Certificate::Ca,
        Certificate::LongChain,
        Certificate::Malformed,
        Certificate::OtherKey,
    ] {
        let azure = Azure::builder()
            .certificate(Endpoint::Vault, certificate)
            .start();
        page.know(&azure);
        page.run(prod_kv(&azure, &["--timeout=0"]));
    }
    let azure = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::AddressesAsNames)
        .start();
    page.know(&azure);
    let address = azure.vault().replace("localhost", "127.0.0.1");
    page.replace(&address, "10.0.0.1");
    page.run(secret_of(&azure, &address));
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        // The end of the connection.
        b"",
        // A fatal alert: handshake_failure.
        b"\x15\x03\x03\x00\x02\x02\x28",
        // certificate_required.
        b"\x15\x03\x03\x00\x02\x02\x74",
        // A handshake message of an unknown type.
        b"\x16\x03\x03\x00\x04\x63\x00\x00\x00",
    ] {
        let vault = says(bytes);
        page.replace(&vault, "vault.example.com");
        page.run(secret_of(&azure, &vault));
    }
    let empty = azure.dir().join("empty");
    fs::create_dir(&empty).expect("it is new");
    let trust = |name: &str, path: &Path| one_secret(&azure, &["--verbose"]).env(name, path);
    page.run(trust("AKV_INIT_CA_FILE", Path::new("/absent")));
    let private = azure.dir().join("private.pem");
    fs::write(&private, "").expect("it is new");
    fs::set_permissions(&private, Permissions::from_mode(0o000)).expect("it is ours");
    let user = format!("runs as {}:{}", geteuid(), getegid());
    page.replace(&user, "runs as 65532:65532");
    page.run(trust("SSL_CERT_FILE", &private).with(inherited::obey_permissions));
    let pipe = azure.dir().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR).expect("it is new");
    let socket = azure.dir().join("socket");
    let _listener = UnixListener::bind(&socket).expect("it is new");
    for path in [Path::new("/dev/null"), &pipe, &socket, &empty] {
        page.run(trust("SSL_CERT_FILE", path));
    }
    let large = empty.join("large.log");
    let file = File::create(&large).expect("it is new");
    file.set_len(700 << 20).expect("it takes no space");
    page.run(trust("SSL_CERT_FILE", &large));
    page.run(trust("SSL_CERT_DIR", &empty));
    file.set_len(0).expect("it is ours");
    page.run(trust("SSL_CERT_FILE", &large));
}

/// A run that reads a secret of a vault at this address.
fn secret_of(azure: &Azure, vault: &str) -> Run {
    let secret = format!("DB_PASSWORD=akv://{vault}/sql-sa");
    crate::support::exec(azure, ["--timeout=0", "--secret", &secret, "true"])
        .env("AKV_INIT_ALLOW_VAULT", vault)
}

/// The address of a server that sends these bytes to each client.
fn says(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    // It waits until the test's process ends.
    thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            // The client may have closed the connection.
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(bytes);
        }
    });
    address.to_string()
}

pub fn proxies(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    page.run(prod_kv(&azure, &[]).env("HTTPS_PROXY", "http://user:word@"));
    page.run(prod_kv(&azure, &[]).env("HTTPS_PROXY", "socks5://127.0.0.1:1080"));
    for answer in [
        Response::proxy_authentication(),
        Response::text(407, "no"),
        Response::text(407, "no").header("Proxy-Authenticate", "Negotiate, NTLM"),
        Response::text(403, "no"),
        Response::text(502, "no"),
        Response::text(100, ""),
        Response::fin(),
    ] {
        azure.always(Endpoint::Proxy, answer);
        page.run(prod_kv(&azure, &["--timeout=0"]));
    }
    azure.close(Endpoint::Proxy);
    page.run(prod_kv(&azure, &["--timeout=0"]));
}

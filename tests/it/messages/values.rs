//! What a reference makes of a secret.

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::pty::openpty;
use rcgen::{CertificateParams, KeyPair};

use super::book::Page;
use super::time::listen;
use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::{akv_init, exec, write};
use crate::support_identities::outcome_without_stdout;
use crate::support_openssl::openssl;
use crate::support_scratch::Scratch;

pub fn made(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let reference = |secret: &str, options: &str| {
        azure.secret("db", secret);
        format!("akv://{}/db{options}", azure.vault())
    };
    for (secret, options) in [
        (r#"{"user":"app"}"#, "#/password"),
        (r#"{"user":"app"}"#, "#/user?trim"),
        (r#"{"user":{"name":"app"}}"#, "#/user"),
        ("hunter2", "#/password"),
        ("\u{feff}{}", "#/password"),
        ("hunter 2!", "?decode=base64"),
        ("hunter2", "?decode=hex"),
        ("/w==", "?decode=base64&encode=ado"),
    ] {
        page.run(exec(&azure, ["/bin/true"]).env("DB_PASSWORD", reference(secret, options)));
    }
    for options in ["?optional#/replica", "?default=none#/replica"] {
        let run = exec(&azure, ["/bin/true"]).env("DB_REPLICA", reference("{}", options));
        page.record_all(&run.outcome());
    }
    let absent = format!("akv://{}/replica?optional", azure.vault());
    page.record_all(
        &exec(&azure, ["/bin/true"])
            .env("DB_REPLICA", &absent)
            .outcome(),
    );
    azure.next(Endpoint::Vault, Response::rbac());
    page.run(exec(&azure, ["--timeout=0", "/bin/true"]).env("DB_REPLICA", &absent));
    let volume = Scratch::new();
    page.replace(volume.path("").trim_end_matches('/'), "/run/volume");
    volume.file("replica", b"", 0o600);
    let secret = format!("--secret=replica={absent}");
    page.run(write(&azure, [secret]).args([volume.path("")]));
    // By the same run later, of a secret that has been deleted since.
    let removing = format!("--secret=deleted=akv://{}/deleted?optional", azure.vault());
    let run = || write(&azure, ["--verbose", &removing]).args([volume.path("")]);
    azure.secret("deleted", "hunter2");
    run().outcome();
    azure.next_for(
        Endpoint::Vault,
        "/secrets/deleted",
        Response::not_found("deleted"),
    );
    azure.next(Endpoint::Imds, Response::usual().hold());
    page.record(&listen(&azure, run(), Endpoint::Imds, "connected to "));
    let own = KeyPair::generate().expect("keys can be made");
    let own_pem = CertificateParams::default()
        .self_signed(&own)
        .expect("it signs itself")
        .pem();
    for (secret, part) in [
        ("hunter2", "all"),
        (&*own_pem, "key"),
        (&*own_pem, "ca"),
        (&*own.serialize_pem(), "leaf"),
    ] {
        page.run(
            exec(&azure, ["/bin/true"]).env("TLS", reference(secret, &format!("?pem={part}"))),
        );
    }
    let directory = Scratch::new();
    fs::write(directory.0.join("key.pem"), own.serialize_pem() + &own_pem).expect("it is ours");
    for options in [
        &["-passout", "pass:p"][..],
        &["-passout", "pass:", "-keypbe", "CAMELLIA-256-CBC"],
    ] {
        let export = ["pkcs12", "-export", "-in", "key.pem"];
        let pfx = openssl(&directory.0, [&export, options].concat());
        azure.put(Stored {
            content_type: Some("application/x-pkcs12".to_owned()),
            ..Stored::new("tls", &BASE64_STANDARD.encode(pfx))
        });
        let tls = format!("akv://{}/tls?pem", azure.vault());
        page.run(exec(&azure, ["/bin/true"]).env("TLS", tls));
    }
    let bytes = reference("/w==", "?decode=base64");
    let scratch = Scratch::new();
    page.replace(scratch.path("").trim_end_matches('/'), "/run/secrets");
    for output in ["json:app.json", "dotenv:.env"] {
        let secret = format!("DB_PASSWORD={bytes}");
        let run = write(&azure, ["--output", output, "--secret", &secret]);
        page.run(run.args([scratch.path("")]));
    }
    let terminal = openpty(None, None).expect("there are terminals");
    let run = akv_init(["get", &bytes])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    let run = run.with(|command| {
        command.stdout(Stdio::from(terminal.slave));
    });
    page.record(&outcome_without_stdout(run));
    let _ = File::from(terminal.master).read_to_end(&mut Vec::new());
}

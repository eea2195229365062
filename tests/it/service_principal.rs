//! A service principal with a secret: where the secret can be, and settings that are rejected. Its certificate has a file
//! of its own.

mod certificate;

use std::fs;

use crate::azure::{APPLICATION, Azure, CLIENT_SECRET, Endpoint, Identity, Response};
use crate::support_identities::{CLIENT, RESOURCE, Source, assert_token, only_request, with};
use crate::support_requests::connections;

const SOURCE: Source = Source::Secret;

#[test]
fn secret_in_a_file_may_end_in_a_line_end() {
    let azure = Azure::start();
    let file = azure.dir().join("client-secret");
    for end in ["", "\n", "\r\n"] {
        fs::write(&file, format!("{CLIENT_SECRET}{end}")).unwrap();
        let run = SOURCE
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("AZURE_CLIENT_SECRET_FILE", &file);
        assert_token(&azure, &run.outcome());
    }
}

/// `echo … | base64` adds a line end, and `docker run --env-file` keeps quotes.
#[test]
fn white_space_and_quotes_around_a_setting_are_not_a_part_of_it() {
    let azure = Azure::start();
    azure.identities(&[Identity::system()]);
    let forms: [fn(&str) -> String; 5] = [
        |value| format!("{value}\n"),
        |value| format!("  {value}\r\n"),
        |value| format!("\"{value}\""),
        |value| format!("'{value}'\n"),
        |value| format!("\" {value} \""),
    ];
    for source in [
        SOURCE,
        Source::Certificate,
        Source::Workload,
        Source::AppService,
    ] {
        for (name, value) in source.environment(&azure) {
            // Quotes can belong to a secret.
            let count = if name == "AZURE_CLIENT_SECRET" { 2 } else { 5 };
            for form in &forms[..count] {
                let run = source.token(&azure, &[]).env(&name, form(&value));
                assert_token(&azure, &run.outcome());
            }
        }
    }
    for form in forms {
        let run = SOURCE.token(&azure, &[]).without("AZURE_CLIENT_ID");
        let run = run.env("AKV_INIT_CLIENT_ID", form(APPLICATION));
        assert_token(&azure, &run.env("AKV_INIT_TIMEOUT", form("90")).outcome());
    }
}

#[test]
fn quotes_around_a_secret_are_sent_with_a_warning() {
    let azure = Azure::start();
    let run = SOURCE.token(&azure, &[]).json();
    let run = run.env("AZURE_CLIENT_SECRET", format!("\"{CLIENT_SECRET}\"\n"));
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let warnings = outcome.lines_of("warning");
    let message = warnings[0]["message"].as_str().unwrap();
    assert!(message.contains("AZURE_CLIENT_SECRET"), "{message}");
}

/// A name without a directory is a file of `$CREDENTIALS_DIRECTORY`, if it exists there.
#[test]
fn relative_file_is_a_credential_of_systemd() {
    let azure = Azure::start();
    let directory = azure.dir().join("credentials");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("app-secret"), CLIENT_SECRET).unwrap();
    fs::copy(azure.certificate_file(), directory.join("app.pem")).unwrap();
    let run = || {
        SOURCE
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("CREDENTIALS_DIRECTORY", &directory)
    };
    let secret = run().env("AZURE_CLIENT_SECRET_FILE", "app-secret");
    assert_token(&azure, &secret.outcome());
    let certificate = run().env("AZURE_CLIENT_CERTIFICATE_PATH", "app.pem");
    assert_token(&azure, &certificate.outcome());
    // A relative name that does not exist there is relative to the working directory.
    let absolute = run().env("AZURE_CLIENT_SECRET_FILE", directory.join("app-secret"));
    assert_token(&azure, &absolute.without("CREDENTIALS_DIRECTORY").outcome());
    let elsewhere = run()
        .env("AZURE_CLIENT_SECRET_FILE", "credentials/app-secret")
        .with(|command| {
            command.current_dir(azure.dir());
        });
    assert_token(&azure, &elsewhere.outcome());
}

#[test]
fn secret_file_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let empty = azure.dir().join("empty");
    fs::write(&empty, "\n").unwrap();
    let binary = azure.dir().join("binary");
    fs::write(&binary, b"\xff\xfe").unwrap();
    let missing = azure.dir().join("no-such-file");
    for path in [&missing, azure.dir(), &empty, &binary] {
        let run = SOURCE
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET")
            .env("AZURE_CLIENT_SECRET_FILE", path);
        let failure = run.failure(78, "config");
        failure
            .names("AZURE_CLIENT_SECRET_FILE")
            .names(path.to_str().unwrap());
    }
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 0);
}

#[test]
fn missing_half_of_a_credential_is_named() {
    let azure = Azure::start();
    for missing in [
        &["AZURE_TENANT_ID"][..],
        &["AZURE_CLIENT_ID"],
        &["AZURE_TENANT_ID", "AZURE_CLIENT_ID"],
        &["AZURE_CLIENT_SECRET"],
    ] {
        for empty in [false, true] {
            let mut run = SOURCE.token(&azure, &["--identity", "service-principal"]);
            for name in missing {
                run = match empty {
                    true => run.env(name, ""),
                    false => run.without(name),
                };
            }
            let failure = run.failure(78, "config");
            missing.iter().for_each(|name| {
                failure.names(name);
            });
        }
    }
    assert_eq!(connections(&azure), 0);
}

/// EnvironmentCredential's order: the secret, then the certificate.
#[test]
fn secret_precedes_the_certificate() {
    let azure = Azure::start();
    let run = with(SOURCE.token(&azure, &[]), &azure.certificate_environment());
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Endpoint::Login);
    assert_eq!(
        request.form("client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
    assert_eq!(request.form("client_assertion"), None);
}

#[test]
fn principal_precedes_the_platform_and_follows_the_token_file() {
    let azure = Azure::start();
    let platform = [
        azure.app_service_environment(),
        azure.machine_learning_environment(),
    ]
    .concat();
    assert_token(
        &azure,
        &with(SOURCE.token(&azure, &[]), &platform).outcome(),
    );
    assert_eq!(azure.connections(Endpoint::Platform), 0);
    let run = with(SOURCE.token(&azure, &[]), &azure.workload_environment());
    assert_token(&azure, &run.outcome());
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    assert_eq!(request.form("client_secret"), None);
    // Unless it is named.
    let run = SOURCE.token(&azure, &["--identity", "service-principal"]);
    assert_token(&azure, &with(run, &azure.workload_environment()).outcome());
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    assert_eq!(
        request.form("client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
}

#[test]
fn client_id_option_precedes_the_variable_and_other_selectors_are_rejected() {
    let azure = Azure::start();
    azure.identities(&[Identity::user(CLIENT)]);
    assert_token(
        &azure,
        &SOURCE.token(&azure, &["--client-id", CLIENT]).outcome(),
    );
    let request = only_request(&azure, Endpoint::Login);
    assert_eq!(request.form("client_id").as_deref(), Some(CLIENT));
    for (option, id) in [("--object-id", CLIENT), ("--resource-id", RESOURCE)] {
        let run = SOURCE.token(&azure, &[option, id]);
        run.failure(78, "config").hinted();
    }
}

/// 7000215 of the fake Azure's own check, and 7000222 in Entra's words.
#[test]
fn rejected_secret_is_not_sent_again() {
    let azure = Azure::start();
    let run = SOURCE
        .token(&azure, &["--verbose"])
        .env("AZURE_CLIENT_SECRET", "LEAKofANOTHERsecret");
    let failure = run.failure(77, "denied");
    failure.names("AADSTS7000215").hinted().omits("LEAK");
    only_request(&azure, Endpoint::Login);

    let text = "The provided client secret keys for app 'x' are expired.";
    let expired = Response::aadsts(7_000_222, text).with_status(401);
    azure.next(Endpoint::Login, expired);
    let failure = SOURCE.token(&azure, &[]).failure(77, "denied");
    failure.names("AADSTS7000222").hinted();
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 2);
}

/// It becomes a part of the URL.
#[test]
fn tenant_that_is_not_a_guid_or_a_domain_is_rejected() {
    let azure = Azure::start();
    for source in [SOURCE, Source::Workload] {
        for tenant in [
            "not a valid tenant",
            "../common",
            "a/b",
            "a?b",
            ".",
            "..",
            "ténant",
        ] {
            let run = source.token(&azure, &[]).env("AZURE_TENANT_ID", tenant);
            run.failure(78, "config").names("AZURE_TENANT_ID");
        }
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn authority_is_only_used_over_https() {
    let azure = Azure::start();
    for source in [SOURCE, Source::Workload] {
        for authority in [
            "http://insecure",
            "HTTP://insecure",
            "ftp://insecure",
            "http://user:LEAK@insecure",
            "https://user:LEAK@insecure",
            "https://insecure/path",
            "https://insecure?x=1",
            "https://",
        ] {
            let run = source.token(&azure, &[]);
            let run = run.env("AZURE_AUTHORITY_HOST", authority);
            let failure = run.failure(78, "config");
            failure.names("AZURE_AUTHORITY_HOST").omits("LEAK");
        }
    }
    assert_eq!(connections(&azure), 0);
}

//! A secret in a setting that is not for it.

use crate::azure::Azure;
use crate::support::akv_init;
use crate::support_identities::{CLIENT, Source, with};
use crate::support_requests::connections;

/// A client secret of today, one of earlier years, a token, and the content of a file.
const SECRETS: [&str; 4] = [
    "LEA8Q~KofSECRET.0123456789-abcdefghij_kl",
    "LEAKofSECRET/0123456789+abcdefghijklmnopqr==",
    "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhIn0LEAK.c2lnbmF0dXJl",
    "-----BEGIN PRIVATE KEY-----\nMIILEAK\n-----END PRIVATE KEY-----\n",
];

#[test]
fn secret_in_another_setting_is_not_printed() {
    let azure = Azure::start();
    for (source, names) in [
        (
            Source::Secret,
            &[
                "AZURE_TENANT_ID",
                "AZURE_CLIENT_ID",
                "AKV_INIT_CLIENT_ID",
                "AZURE_TOKEN_CREDENTIALS",
            ][..],
        ),
        (Source::Workload, &["AZURE_FEDERATED_TOKEN_FILE"]),
        (Source::Certificate, &["AZURE_CLIENT_CERTIFICATE_PATH"]),
        (
            Source::Imds,
            &[
                "AZURE_CLIENT_ID",
                "AKV_INIT_OBJECT_ID",
                "AKV_INIT_RESOURCE_ID",
            ],
        ),
        (Source::MachineLearning, &["DEFAULT_IDENTITY_CLIENT_ID"]),
    ] {
        for (name, secret) in names
            .iter()
            .flat_map(|name| SECRETS.map(|secret| (name, secret)))
        {
            let failure = source
                .token(&azure, &["--verbose"])
                .env(name, secret)
                .failure(78, "config");
            failure.names(name).omits("LEA");
            let run = with(
                akv_init(["check", "--secret", "S=entra-token:https://a"]),
                &source.environment(&azure),
            );
            let outcome = run
                .env("SSL_CERT_FILE", azure.ca_file())
                .env(name, secret)
                .outcome();
            assert_eq!(outcome.code, Some(78), "{name}: {}", outcome.stdout);
            assert!(outcome.stdout.contains(name), "{}", outcome.stdout);
            assert!(!outcome.stdout.contains("LEA"), "{}", outcome.stdout);
        }
    }
    assert_eq!(azure.requests().len(), 0);
}

#[test]
fn name_of_an_identity_is_rejected_as_its_id_before_any_request() {
    let azure = Azure::start();
    for option in ["--client-id", "--object-id", "--resource-id"] {
        for id in [
            "my-identity",
            "my.identity",
            "11111111-2222-4333-8444-55555555555",
            "11111111-2222-4333-8444-555555555555x",
            "11111111-2222-4333-8444-55555555555g",
            "11111111-2222-43338-444-555555555555",
        ] {
            let run = Source::Imds.token(&azure, &[option, id]);
            run.failure(64, "usage").names(option).omits(id);
        }
    }
    for id in ["my-identity", &CLIENT[1..]] {
        let run = Source::Imds.token(&azure, &[]).env("AZURE_CLIENT_ID", id);
        run.failure(78, "config").names("AZURE_CLIENT_ID").omits(id);
    }
    assert_eq!(connections(&azure), 0);
    // It is for COMMAND.
    let run = akv_init(["exec", "/bin/true"]).env("AZURE_CLIENT_ID", "my-identity");
    assert_eq!(run.outcome().stdout_alone(), "");
}

/// A path that leads somewhere is one.
#[test]
fn path_of_a_file_is_shown_if_it_is_absolute_or_exists() {
    let azure = Azure::start();
    for (path, is_shown) in [("/absent/secret", true), ("absent", false), ("src", true)] {
        let run = Source::Secret
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET");
        let failure = run
            .env("AZURE_CLIENT_SECRET_FILE", path)
            .failure(78, "config");
        failure.names("AZURE_CLIENT_SECRET_FILE");
        match is_shown {
            true => failure.names(path),
            false => failure.omits(path),
        };
    }
}

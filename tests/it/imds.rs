//! IMDS: its address, and the identity that it chooses. The rest is in `managed_identities.rs`.

use serde_json::json;

use crate::azure::{Azure, Endpoint, Identity, Response};
use crate::support::akv_init;
use crate::support_identities::{Source, assert_token};
use crate::support_requests::connections;
use crate::support_scratch::Scratch;

const ONE: &str = "11111111-2222-4333-8444-555555555555";
const TWO: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

const ADDRESS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

#[test]
fn selector_of_higher_rank_replaces_the_others() {
    let azure = Azure::start();
    let (one, two) = (Identity::user(ONE), Identity::user(TWO));
    azure.identities(&[one.clone(), two]);
    let token = |options: &[&str]| Source::Imds.token(&azure, options);
    for (run, name, value) in [
        (
            token(&["--object-id", &one.object_id])
                .env("AKV_INIT_CLIENT_ID", TWO)
                .env("AZURE_CLIENT_ID", TWO),
            "object_id",
            one.object_id.as_str(),
        ),
        (
            token(&[])
                .env("AKV_INIT_CLIENT_ID", ONE)
                .env("AZURE_CLIENT_ID", TWO),
            "client_id",
            ONE,
        ),
        (
            token(&[])
                .env("AKV_INIT_CLIENT_ID", "")
                .env("AZURE_CLIENT_ID", ONE),
            "client_id",
            ONE,
        ),
    ] {
        assert_token(&azure, &run.outcome());
        let request = azure.requests_at(Endpoint::Imds).pop().unwrap();
        assert_eq!(request.query(name).as_deref(), Some(value));
        assert_eq!(request.query_pairs().len(), 3);
    }
}

/// On a laptop there is no IMDS, or Docker Desktop in its place.
#[test]
fn azure_cli_is_named_if_it_is_on_the_path() {
    let azure = Azure::start();
    let scratch = Scratch::new();
    let directory = scratch.directory("with-az");
    scratch.file("with-az/az", b"#!/bin/sh\n", 0o755);
    let run = |path: &str| {
        Source::Imds
            .token(&azure, &["--timeout", "0"])
            .env("PATH", path)
    };
    azure.always(Endpoint::Imds, Response::docker_desktop());
    run(&directory)
        .failure(69, "unavailable")
        .hint_names("--identity cli");
    azure.close(Endpoint::Imds);
    run(&directory)
        .failure(69, "unavailable")
        .hint_names("--identity cli");
    let without = run("/absent").failure(69, "unavailable");
    without
        .hint_names("--enable-imds-restriction")
        .omits("--identity cli");
}

#[test]
fn only_identity_of_the_machine_needs_no_selector() {
    let azure = Azure::start();
    for identities in [
        vec![Identity::system()],
        vec![Identity::user(ONE)],
        vec![Identity::system(), Identity::user(ONE), Identity::user(TWO)],
    ] {
        azure.identities(&identities);
        assert_token(&azure, &Source::Imds.token(&azure, &[]).outcome());
    }
    azure.identities(&[Identity::user(ONE), Identity::user(TWO)]);
    let failure = Source::Imds.token(&azure, &[]).failure(77, "denied");
    failure.hint_names("--client-id");
    let run = Source::Imds.token(&azure, &["--client-id", TWO]);
    assert_token(&azure, &run.outcome());
}

#[test]
fn address_is_used_with_or_without_a_slash_at_its_end() {
    let azure = Azure::start();
    let path = "/metadata/identity/oauth2/token";
    for (end, path) in [
        ("", path.to_owned()),
        ("/", path.to_owned()),
        ("//", path.to_owned()),
        ("/relay/", format!("/relay{path}")),
    ] {
        let good = Response::token(json!({"expires_in": 600}));
        azure.next_for(Endpoint::Imds, "/relay/", good);
        let address = format!("{}{end}", azure.imds());
        let run = Source::Imds.token(&azure, &[]).env(ADDRESS, address);
        assert_token(&azure, &run.outcome());
        let request = azure.requests_at(Endpoint::Imds).pop().unwrap();
        assert_eq!(request.path(), path, "{end}");
    }
}

#[test]
fn without_an_address_it_is_the_link_local_one() {
    let azure = Azure::start();
    let words = ["--secret", "S=akv://kv1/a", "--", "/bin/true"];
    let dry_run = || akv_init(["exec", "--dry-run"]).args(words);
    for run in [dry_run().env(ADDRESS, ""), dry_run()] {
        let outcome = run.outcome();
        let identity = outcome.stdout_alone().lines().next().unwrap();
        assert!(identity.contains("http://169.254.169.254"), "{identity}");
    }
    assert_eq!(connections(&azure), 0);
}

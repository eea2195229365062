//! The settings of workload identity: half of them, wrong ones, and every form of the authority. No request is made
//! before they are good.

use std::fs;

use super::asking;
use crate::azure::{Azure, Door, TENANT};
use crate::network::wire::{assert_got_it, connections, counts, one_secret, one_secret_federated};

const WEBHOOK_HINT: &str = "hint: the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" \
                            whose service account is annotated with azure.workload.identity/client-id";

#[test]
fn half_a_credential_names_the_missing_half() {
    let azure = Azure::start();
    let (file, tenant, client) = (
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
    );
    for (missing, named) in [
        (&[client][..], format!("{client} is")),
        (&[tenant], format!("{tenant} is")),
        (&[tenant, client], format!("{tenant} and {client} are")),
    ] {
        let line = format!("error: workload identity is not complete: {named} not set");
        for empty in [false, true] {
            let mut run = one_secret_federated(&azure, &[]);
            for name in missing {
                run = match empty {
                    true => run.env(name, ""),
                    false => run.without(name),
                };
            }
            run.outcome().failed(78, &[&line, WEBHOOK_HINT]);
        }
    }
    // T14: asked for by name where nothing of it is there.
    let line = format!(
        "error: workload identity is not complete: {file}, {tenant} and {client} are not set"
    );
    one_secret(&azure, &["--identity", "workload"])
        .outcome()
        .failed(78, &[&line, WEBHOOK_HINT]);
    assert_eq!(connections(&azure), 0);
}

#[test]
fn an_object_id_or_a_resource_id_does_not_choose_it() {
    let azure = Azure::start();
    for option in ["--object-id", "--resource-id"] {
        one_secret_federated(&azure, &[option, "11111111-2222-4333-8444-555555555555"])
            .outcome()
            .failed(
                78,
                &[
                    "error: workload identity is chosen by client id; an object id or a resource id does not apply",
                    "hint: give --client-id, or --identity managed to use a managed identity",
                ],
            );
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn t6_a_tenant_that_is_neither_a_guid_nor_a_domain_is_refused_before_any_request() {
    let azure = Azure::start();
    for tenant in ["not a valid tenant", "../common", "a/b", "a?b", "ténant"] {
        let line = format!("error: AZURE_TENANT_ID: `{tenant}` is neither a GUID nor a domain");
        one_secret_federated(&azure, &[])
            .env("AZURE_TENANT_ID", tenant)
            .outcome()
            .failed(78, &[&line]);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn a_domain_is_a_tenant_too() {
    let azure = Azure::start();
    let outcome = one_secret_federated(&azure, &[])
        .env("AZURE_TENANT_ID", "contoso.example.com")
        .outcome();
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    assert_eq!(
        azure.requests_at(Door::Login)[0].target,
        "/contoso.example.com/oauth2/v2.0/token"
    );
}

/// T2, and what people write.
#[test]
fn the_authority_is_taken_with_or_without_a_slash_and_a_scheme() {
    let azure = Azure::start();
    let host = azure.login().trim_start_matches("https://").to_owned();
    for written in [
        format!("https://{host}"),
        format!("https://{host}/"),
        format!("https://{host}//"),
        format!("HTTPS://{}/", host.to_uppercase()),
        host.clone(),
    ] {
        let run = one_secret_federated(&azure, &[]).env("AZURE_AUTHORITY_HOST", &written);
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(
            (request.host, request.target),
            (host.clone(), format!("/{TENANT}/oauth2/v2.0/token")),
            "{written}"
        );
    }
}

#[test]
fn t4_the_authority_is_never_asked_over_plain_http() {
    let azure = Azure::start();
    let host = azure.login().trim_start_matches("https://").to_owned();
    for scheme in ["http", "HTTP", "ftp"] {
        let line = "error: AZURE_AUTHORITY_HOST does not start with https://";
        one_secret_federated(&azure, &[])
            .env("AZURE_AUTHORITY_HOST", format!("{scheme}://{host}/"))
            .outcome()
            .failed(78, &[line]);
    }
    for wrong in [
        format!("https://user:word@{host}"),
        format!("https://{host}/path"),
        format!("https://{host}?x=1"),
        "https://".to_owned(),
    ] {
        let line = "error: AZURE_AUTHORITY_HOST is not https:// and a host";
        one_secret_federated(&azure, &[])
            .env("AZURE_AUTHORITY_HOST", &wrong)
            .outcome()
            .failed(78, &[line]);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn a_token_file_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let missing = azure.dir().join("no-such-file");
    let empty = azure.dir().join("empty");
    fs::write(&empty, " \n").unwrap();
    for (path, why, hint) in [
        (
            &missing,
            format!(
                "reading the token file `{}`: No such file or directory (os error 2)",
                missing.display()
            ),
            "hint: is the pod labelled azure.workload.identity/use: \"true\", and this container not skipped?",
        ),
        (
            &empty,
            format!("the token file `{}` is empty", empty.display()),
            "hint: the kubelet writes it before the container starts: is this the projected token?",
        ),
        // Even root cannot read a directory as a file.
        (
            &azure.dir().to_owned(),
            format!(
                "reading the token file `{}`: Is a directory (os error 21)",
                azure.dir().display()
            ),
            "hint: the projected token must be readable by this user: look at fsGroup and runAsUser",
        ),
    ] {
        let line = format!("{}: {why}", asking(&azure));
        one_secret_federated(&azure, &[])
            .env("AZURE_FEDERATED_TOKEN_FILE", path)
            .outcome()
            .failed(78, &[&line, hint]);
    }
    assert_eq!(counts(&azure), [0, 0, 0]);
}

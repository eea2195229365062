//! One test for each row of the table, in its order: healed after some tries, over after one, or counted.

use crate::azure::{Answer, Azure, Certificate, Door};
use crate::network::full_queue::FullQueue;
use crate::network::listen::Listened;
use crate::network::wire::{
    all_at_once, assert_got_it, counts, one_secret, one_secret_federated, timeless,
};
use crate::support::{Run, exec};

/// A run that asks this door; for the login door in a pod with workload identity.
fn asking(azure: &Azure, door: Door, options: &[&str]) -> Run {
    match door {
        Door::Login => one_secret_federated(azure, options),
        _ => one_secret(azure, options),
    }
}

/// This answer, then the usual one: it gets there, with one more request.
#[track_caller]
fn assert_heals(door: Door, answer: &Answer) {
    let azure = Azure::start();
    azure.next(door, answer.clone());
    assert_got_it(&asking(&azure, door, &[]).outcome());
    assert_eq!(azure.requests_at(door).len(), 2);
}

/// One request and this exit code.
#[track_caller]
fn assert_final(door: Door, answer: &Answer, code: i32) {
    let azure = Azure::start();
    azure.always(door, answer.clone());
    let outcome = asking(&azure, door, &["--wait-for-access", "0"]).outcome();
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains(" tries in "), "{}", outcome.stderr);
    assert_eq!(azure.requests_at(door).len(), 1);
}

/// So many requests and this exit code.
#[track_caller]
fn assert_counted(door: Door, answer: &Answer, tries: usize, code: i32) {
    let azure = Azure::start();
    azure.always(door, answer.clone());
    let outcome = timeless(asking(&azure, door, &[]).outcome());
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    let end = format!(", after {tries} tries in N s");
    let error = outcome.error().unwrap_or_default();
    assert!(error.ends_with(&end), "{error}");
    assert_eq!(azure.requests_at(door).len(), tries);
}

/// A vault whose name no name server knows. Without any name server the outcome is the other one of the two.
#[test]
fn name_unknown_and_name_server() {
    let azure = Azure::start();
    let words = ["--secret", "S=akv://vault.invalid/sql-sa", "--", "true"];
    let run = exec(&azure, ["--timeout", "0"]).args(words);
    let mut outcome = run.env("AKV_INIT_ALLOW_VAULT", "vault.invalid").outcome();
    // The C library may wait for a name server that is not there, and that is not what this is about.
    let lines = outcome.stderr.lines();
    let lines = lines.filter(|line| !line.starts_with("akv-init: still "));
    outcome.stderr = lines.map(|line| format!("{line}\n")).collect();
    let known = !outcome.stderr.contains("the name servers do not answer");
    let what = match known {
        true => "the name does not exist in DNS",
        false => "the name servers do not answer",
    };
    let line = format!("error: reading secret `sql-sa` from vault.invalid for S: {what}");
    let hint = match known {
        true => {
            "hint: is the vault's name right? With a private endpoint: does the private DNS zone \
             privatelink.vaultcore.azure.net have a record for vault.invalid, and is it linked to this network?"
        }
        false => {
            "hint: look at the name servers of /etc/resolv.conf: does a network policy let DNS through (port 53)? In \
             a cluster: is CoreDNS up?"
        }
    };
    outcome.failed(69, &[&line, hint]);
    assert_eq!(counts(&azure), [1, 0, 0]);
}

/// DNS may not be ready when the pod is; ten seconds are long enough for that.
#[test]
fn a_name_that_does_not_exist_is_asked_for_again_but_not_until_the_deadline() {
    let azure = Azure::start();
    let words = ["--secret", "S=akv://vault.invalid/sql-sa", "--", "true"];
    let run = exec(&azure, ["--timeout", "14"])
        .args(words)
        .env("AKV_INIT_ALLOW_VAULT", "vault.invalid");
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(69));
    let error = outcome.error().unwrap_or_default();
    let Some((_, end)) = error.rsplit_once(", after ") else {
        // Name servers that take longer than all of it.
        assert!(
            error.ends_with(": no answer before the deadline"),
            "{error}"
        );
        return;
    };
    let (tries, seconds) = end.split_once(" tries in ").unwrap();
    let seconds: u32 = seconds.trim_end_matches(" s").parse().unwrap();
    assert!(tries.parse::<u32>().unwrap() > 1, "{error}");
    match error.contains("the name does not exist in DNS") {
        true => assert!((8..=10).contains(&seconds), "{error}"),
        false => assert!((11..=14).contains(&seconds), "{error}"),
    }
}

#[test]
fn refused() {
    for door in [Door::Imds, Door::Login, Door::Vault] {
        let azure = Azure::builder().closed(door).start();
        let mut run = Listened::start(asking(&azure, door, &["--verbose"]));
        run.until("try 2: connection refused");
        azure.open(door);
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{door:?}: {}", outcome.stderr);
        assert_eq!(azure.requests_at(door).len(), 1);
    }
}

/// A connection to a broadcast address is refused by our own kernel, route or not.
#[test]
fn unreachable() {
    let azure = Azure::start();
    let run = one_secret(&azure, &["--timeout", "1"]).env(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "http://255.255.255.255",
    );
    let outcome = timeless(run.outcome());
    assert_eq!(outcome.code, Some(69));
    let error = outcome.error().unwrap_or_default();
    let (before, after) = error.split_once(", after ").expect("several tries");
    assert_eq!(
        before,
        "getting an access token from IMDS (http://255.255.255.255, managed identity): no route to the address"
    );
    assert!(after.ends_with(" tries in N s"), "{error}");
}

/// A try that takes too long is over, and there is another, which the deadline cuts off.
#[test]
fn no_connection_and_cut_off() {
    let full = FullQueue::new();
    let azure = Azure::start();
    let base = format!("http://{}", full.address());
    let run =
        one_secret(&azure, &["--timeout", "4"]).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &base);
    let line = format!(
        "error: getting an access token from IMDS ({base}, managed identity): no connection within 3 s, after 2 tries \
         in N s"
    );
    let hint = format!(
        "hint: not on Azure, or a network policy blocks {base}, or this is an init container where those have no \
         identity (Container Instances; Container Apps outside the Consumption workload profile)"
    );
    timeless(run.outcome()).failed(69, &[&line, &hint]);
}

#[test]
fn dropped() {
    let answers = [Answer::fin(), Answer::reset(), Answer::usual().half()];
    all_at_once(answers, |answer| {
        // The vault's first request goes over a connection that had waited, and costs no try.
        for door in [Door::Imds, Door::Login, Door::Vault] {
            assert_heals(door, &answer);
        }
    });
}

#[test]
fn proxy_refused() {
    for (status, said) in [
        (403, "refuses the tunnel: 403"),
        (404, "refuses the tunnel: 404"),
    ] {
        let azure = Azure::start();
        let proxy = azure.proxy().replace("http://", "the proxy ");
        azure.always(Door::Proxy, Answer::text(status, "no"));
        let words = ["--secret", "S=akv://kv-one/sql-sa", "--", "true"];
        let run = exec(&azure, words).env("HTTPS_PROXY", azure.proxy());
        let line = format!(
            "error: reading secret `sql-sa` from kv-one.vault.azure.net for S: {proxy} {said}"
        );
        run.outcome().failed(
            78,
            &[
                &line,
                "hint: allow the host in the proxy, or name it in NO_PROXY",
            ],
        );
        // One for the connection that is opened early, one for the request.
        assert_eq!(azure.requests_at(Door::Proxy).len(), 2);
    }
}

#[test]
fn proxy_failed() {
    for answer in [
        Answer::text(502, "no"),
        Answer::status(503),
        Answer::status(504),
    ] {
        let azure = Azure::start();
        azure.secret("sql-sa", "value");
        // The first is for the connection that is opened early.
        azure.next(Door::Proxy, answer.clone());
        azure.next(Door::Proxy, answer);
        let words = ["--secret", "S=akv://kv-one/sql-sa", "--", "printenv", "S"];
        let run = exec(&azure, words).env("HTTPS_PROXY", azure.proxy());
        assert_eq!(run.outcome().stdout_alone(), "value\n");
        assert_eq!(azure.requests_at(Door::Proxy).len(), 3);
    }
}

#[test]
fn certificate() {
    let azure = Azure::builder()
        .certificate(Door::Vault, Certificate::UnknownAuthority)
        .certificate(Door::Login, Certificate::UnknownAuthority)
        .start();
    let outcome = one_secret_federated(&azure, &[]).outcome();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    assert_eq!(azure.connections(Door::Login), 1);
    let outcome = one_secret(&azure, &[]).outcome();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains(" tries in "), "{}", outcome.stderr);
}

#[test]
fn foreign() {
    for door in [Door::Imds, Door::Login, Door::Vault] {
        for answer in [
            Answer::html(200, "<html>"),
            Answer::redirect("/elsewhere"),
            Answer::status(418),
        ] {
            assert_final(door, &answer, 76);
        }
    }
}

#[test]
fn throttled() {
    assert_heals(Door::Imds, &Answer::status(429));
    assert_heals(Door::Login, &Answer::text(429, "Too Many Requests"));
    assert_heals(Door::Vault, &Answer::throttled());
}

#[test]
fn busy() {
    for door in [Door::Imds, Door::Login, Door::Vault] {
        all_at_once([408, 500, 503, 599], |status| {
            assert_heals(door, &Answer::status(status));
        });
    }
}

#[test]
fn endpoint_updating() {
    assert_heals(Door::Imds, &Answer::status(404));
    assert_heals(Door::Imds, &Answer::status(410));
}

#[test]
fn not_yet_assigned() {
    assert_heals(Door::Imds, &Answer::nmi_unassigned());
    assert_heals(Door::Imds, &Answer::nmi_refused());
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::nmi_unassigned());
    let outcome = one_secret(&azure, &["--timeout", "1"]).outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
}

#[test]
fn no_such_identity() {
    assert_final(Door::Imds, &Answer::imds_not_found(), 77);
    assert_final(Door::Imds, &Answer::imds_multiple(), 77);
}

#[test]
fn not_on_azure() {
    assert_final(Door::Imds, &Answer::docker_desktop(), 69);
}

#[test]
fn federation_mismatch() {
    all_at_once([70_021, 70_025, 700_211, 700_212], |code| {
        assert_heals(Door::Login, &Answer::aadsts(code, "No."));
    });
    assert_counted(Door::Login, &Answer::aadsts(700_213, "No."), 5, 77);
}

#[test]
fn assertion_expired() {
    assert_counted(Door::Login, &Answer::aadsts(700_024, "No."), 2, 77);
}

#[test]
fn credential_refused() {
    assert_final(Door::Login, &Answer::aadsts(7_000_215, "No."), 77);
}

#[test]
fn bad_settings() {
    assert_final(Door::Login, &Answer::aadsts(90_002, "No."), 78);
    assert_final(
        Door::Imds,
        &Answer::imds_error(400, "invalid_resource", "AADSTS500011: No."),
        78,
    );
}

#[test]
fn no_access_yet() {
    assert_final(Door::Vault, &Answer::rbac(), 77);
    assert_final(Door::Vault, &Answer::access_policy(), 77);
}

/// Q3: the same token is good a moment later.
#[test]
fn keys_not_resolved() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::akv10046());
    assert_got_it(&one_secret(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    let used = azure.requests_at(Door::Vault);
    assert_eq!(used[0].bearer(), used[1].bearer());
    assert_counted(Door::Vault, &Answer::akv10046(), 5, 69);
}

#[test]
fn access_refused() {
    for answer in [
        Answer::firewall(),
        Answer::private_endpoint(),
        Answer::policy(),
        Answer::akv10000(),
        Answer::akv10022("a", "b"),
        Answer::akv10032("c"),
    ] {
        assert_final(Door::Vault, &answer, 77);
    }
}

#[test]
fn no_such_secret() {
    assert_final(Door::Vault, &Answer::not_found("sql-sa"), 66);
    assert_final(Door::Vault, &Answer::disabled(), 66);
}

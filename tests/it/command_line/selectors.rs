//! Which identity and which cloud: a selector of a higher rank silences lower ones, two of one rank are an error; the
//! authority that a cluster's webhook sets tells the cloud.

use super::settings::{around, plan};
use super::{NOBODY, dry_run};
use crate::support::Outcome;

#[test]
fn a_selector_of_a_higher_rank_silences_lower_ones() {
    let twins = [
        ("AKV_INIT_CLIENT_ID", "client id"),
        ("AKV_INIT_OBJECT_ID", "object id"),
    ];
    let options = [("--client-id", "client id"), ("--object-id", "object id")];
    let chosen = |which: &str, id: &str| {
        format!("identity  IMDS ({NOBODY}, managed identity with {which} {id})")
    };
    let identity = |outcome: Outcome| outcome.stdout.lines().next().map(str::to_owned);
    let azure = ("AZURE_CLIENT_ID", "azure");
    assert_eq!(
        identity(plan(&[], &[azure])),
        Some(chosen("client id", "azure"))
    );
    for (twin, which) in twins {
        let found = identity(plan(&[], &[azure, (twin, "twin")]));
        assert_eq!(found, Some(chosen(which, "twin")));
    }
    for (option, which) in options {
        for lower in [
            &[][..],
            &[twins[0].0],
            &[twins[1].0],
            &[twins[0].0, twins[1].0],
        ] {
            let lower: Vec<(&str, &str)> = lower
                .iter()
                .map(|name| (*name, "twin"))
                .chain([azure])
                .collect();
            let found = identity(plan(&[option, "option"], &lower));
            assert_eq!(found, Some(chosen(which, "option")));
        }
    }
    // An empty selector is none, of whatever rank.
    let found = identity(plan(&[], &[azure, ("AKV_INIT_OBJECT_ID", "")]));
    assert_eq!(found, Some(chosen("client id", "azure")));
}

#[test]
fn two_selectors_of_one_rank_are_an_error() {
    let names = [
        "AKV_INIT_CLIENT_ID",
        "AKV_INIT_OBJECT_ID",
        "AKV_INIT_RESOURCE_ID",
    ];
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let run = dry_run(&[])
            .env("A", "akv://kv1/sa")
            .env(names[one], "a")
            .env(names[other], "b");
        run.outcome().failed(
            78,
            &["error: of AKV_INIT_CLIENT_ID, AKV_INIT_OBJECT_ID and AKV_INIT_RESOURCE_ID only one can be given"],
        );
    }
}

#[test]
fn the_authority_tells_the_cloud_unless_it_is_named() {
    let first = |words: &[&str], variables: &[(&str, &str)]| {
        let outcome = plan(words, variables);
        let line = outcome
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("secret    A <- https://kv1."));
        line.and_then(|line| line.split('/').next())
            .map(str::to_owned)
    };
    for (authority, suffix) in [
        (
            "https://login.microsoftonline.us",
            "vault.usgovcloudapi.net",
        ),
        (
            "https://login.microsoftonline.us/",
            "vault.usgovcloudapi.net",
        ),
        ("login.chinacloudapi.cn", "vault.azure.cn"),
        (
            "HTTPS://LOGIN.partner.microsoftonline.cn/",
            "vault.azure.cn",
        ),
        ("https://login.microsoftonline.com/", "vault.azure.net"),
        ("https://login.example.com/", "vault.azure.net"),
    ] {
        let azure = ("AZURE_AUTHORITY_HOST", authority);
        assert_eq!(first(&[], &[azure]).as_deref(), Some(suffix), "{authority}");
        let twin = first(&[], &[azure, ("AKV_INIT_CLOUD", "public")]);
        assert_eq!(twin.as_deref(), Some("vault.azure.net"));
        let option = first(
            &["--cloud", "china"],
            &[azure, ("AKV_INIT_CLOUD", "public")],
        );
        assert_eq!(option.as_deref(), Some("vault.azure.cn"));
    }
    for (authority, why) in [
        (
            "http://login.microsoftonline.com",
            "does not start with https://",
        ),
        (
            "https://login.microsoftonline.com/tenant",
            "is not https:// and a host",
        ),
        ("https://", "is not https:// and a host"),
    ] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa");
        let federated = around("--identity");
        let run = federated
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        let run = run.env("AZURE_AUTHORITY_HOST", authority);
        run.outcome()
            .failed(78, &[&format!("error: AZURE_AUTHORITY_HOST {why}")]);
    }
}

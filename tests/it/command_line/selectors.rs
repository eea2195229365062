//! Which identity and which cloud: a selector of a higher rank wins, two of one rank are an error; the cloud follows from
//! the authority host that a cluster's webhook sets.

use super::dry_run;
use super::settings::{around, plan};
use crate::azure::{APPLICATION, TENANT};
use crate::support_identities::{CLIENT, with};

#[test]
fn selector_of_a_higher_rank_wins() {
    let variables = ["AKV_INIT_CLIENT_ID", "AKV_INIT_OBJECT_ID"];
    let options = [("--client-id", "client id"), ("--object-id", "object id")];
    let azure = ("AZURE_CLIENT_ID", APPLICATION);
    #[track_caller]
    fn chosen(words: &[&str], variables: &[(&str, &str)], part: &str) {
        let outcome = plan(words, variables);
        let identity = outcome.planned("identity").concat();
        assert!(identity.contains(part), "{identity}");
    }
    let azure_id = format!("client id {APPLICATION}");
    chosen(&[], &[azure], &azure_id);
    for (variable, (_, kind)) in variables.into_iter().zip(options) {
        let chosen_id = format!("{kind} {TENANT}");
        chosen(&[], &[azure, (variable, TENANT)], &chosen_id);
    }
    for (option, kind) in options {
        for lower in [&[][..], &variables[..1], &variables[1..], &variables] {
            let lower = lower.iter().map(|name| (*name, TENANT));
            let lower: Vec<_> = lower.chain([azure]).collect();
            chosen(&[option, CLIENT], &lower, &format!("{kind} {CLIENT}"));
        }
    }
    // An empty selector of whatever rank is ignored.
    chosen(&[], &[azure, (variables[1], "")], &azure_id);
}

#[test]
fn two_selectors_of_one_rank_are_rejected() {
    let names = [
        "AKV_INIT_CLIENT_ID",
        "AKV_INIT_OBJECT_ID",
        "AKV_INIT_RESOURCE_ID",
    ];
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa");
        let run = run.env(names[one], "a").env(names[other], "b");
        let failure = run.failure(78, "config");
        failure.names(names[one]).names(names[other]);
    }
}

#[test]
fn authority_host_selects_the_cloud_unless_one_is_set() {
    let first = |words: &[&str], variables: &[(&str, &str)]| {
        let run = with(dry_run(words).env("A", "akv://kv1/sa"), variables);
        let outcome = run.outcome();
        // Where the two contradict each other, there is a warning, too.
        let mut hosts = outcome
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("secret    A <- https://kv1."));
        hosts
            .next()
            .and_then(|rest| rest.split('/').next())
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
        let variable = first(&[], &[azure, ("AKV_INIT_CLOUD", "public")]);
        assert_eq!(variable.as_deref(), Some("vault.azure.net"));
        let option = first(
            &["--cloud", "china"],
            &[azure, ("AKV_INIT_CLOUD", "public")],
        );
        assert_eq!(option.as_deref(), Some("vault.azure.cn"));
    }
}

#[test]
fn malformed_authority_is_rejected() {
    for authority in [
        "http://login.microsoftonline.com",
        "https://login.microsoftonline.com/tenant",
        "https://",
    ] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa");
        let federated = around("--identity");
        let run = federated
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        let run = run.env("AZURE_AUTHORITY_HOST", authority);
        run.failure(78, "config").names("AZURE_AUTHORITY_HOST");
    }
}

//! A vault of 3,000 secrets.

use serde_json::json;

use super::{run, variables};
use crate::azure::{Azure, Endpoint, Stored};

/// 3,000 secrets: every third one begins with `app-`, every fifth has the tag, every tenth is disabled, every eleventh
/// is that of a certificate, and the longest name has 127 characters.
fn azure() -> (Azure, Vec<Stored>) {
    let azure = Azure::start();
    let secrets = (0..3_000).map(|number| {
        let start = if number % 3 == 0 { "app" } else { "web" };
        let mut name = format!("{start}-{number}");
        if number % 300 == 0 {
            name = format!("{name}-{}", "x".repeat(127 - name.len() - 1));
        }
        let tags = match number % 5 {
            0 => json!({"team": "billing"}),
            _ => json!({"team": "shop"}),
        };
        let secret = Stored {
            enabled: number % 10 != 9,
            extra: json!({"tags": tags, "managed": number % 11 == 10}),
            ..Stored::new(&name, &format!("value-{number}"))
        };
        azure.put(secret.clone());
        secret
    });
    let secrets = secrets.collect();
    (azure, secrets)
}

#[test]
fn right_secrets_are_read_with_one_request_each() {
    let (azure, secrets) = azure();
    for (rest, start, tag) in [
        ("app-*?prefix=P_", "app-", None),
        ("*?prefix=P_&tag=team=billing", "", Some("billing")),
    ] {
        let before = azure.requests().len();
        let run = run(&azure, &format!("akv://kv/{rest}"));
        let outcome = run.env("AKV_INIT_TIMEOUT", "300").outcome();
        let is_wanted = |secret: &&Stored| {
            let tags = &secret.extra["tags"];
            secret.enabled
                && secret.extra["managed"] == false
                && secret.name.starts_with(start)
                && tag.is_none_or(|tag| tags["team"] == tag)
        };
        let wanted = secrets.iter().filter(is_wanted);
        let mut expected: Vec<String> = wanted
            .map(|secret| {
                let name = secret.name[start.len()..].replace('-', "_");
                format!("P_{name}={}", secret.value)
            })
            .collect();
        expected.sort_unstable();
        assert!(expected.len() > 400);
        assert_eq!(variables(&outcome), expected.join(" "));
        let requests = azure.requests().split_off(before);
        // One for the token, 120 pages, and one for each secret.
        assert_eq!(requests.len(), 1 + 120 + expected.len());
        let pages = requests.iter().filter(|it| it.path() == "/secrets");
        assert_eq!(pages.count(), 120);
        let connections = requests.iter().filter(|it| it.endpoint == Endpoint::Vault);
        let mut connections: Vec<u64> = connections.map(|it| it.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        // As many as one vault gets, and that of the list.
        assert!(connections.len() <= 25, "{} connections", connections.len());
    }
}

#[test]
fn names_that_become_one_are_found_among_them() {
    let (azure, _) = azure();
    azure.secret("app-1001", "other");
    let [one, two] =
        ["app", "web"].map(|start| format!("akv://{}/{start}-*?prefix=P_", azure.vault()));
    let run = crate::support::exec(&azure, ["--from", &one, "--from", &two, "env"]);
    let failure = run.failure(78, "config");
    failure.names("`app-1001`").names("`web-1001`");
}

//! Options and their twins in the environment: an option beats `AKV_INIT_…`, which beats `AZURE_…`; an empty variable is
//! unset.

use super::dry_run;
use crate::azure::Azure;
use crate::support::{Outcome, exec};

/// A plan in which every setting that a dry run shows can be seen: two references, one that names no vault and one to
/// a host that must be allowed.
#[track_caller]
pub fn plan(words: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let run = dry_run(words)
        .env("A", "akv:///sa")
        .env("B", "akv://one.example/sa");
    let needed = [
        ("AKV_INIT_VAULT", "kv1"),
        ("AKV_INIT_ALLOW_VAULT", "one.example"),
    ];
    let run = needed
        .iter()
        .chain(variables)
        .fold(run, |run, (name, value)| run.env(name, value));
    let outcome = run.outcome();
    outcome.stdout_alone();
    outcome
}

/// Each option with two values that are good here, its twin, and a line of the plan with the first value.
const TWINS: [(&str, &str, &str, &str, &str); 9] = [
    (
        "--vault",
        "AKV_INIT_VAULT",
        "kv2",
        "kv3",
        "secret    A <- https://kv2.vault.azure.net/secrets/sa (resource https://vault.azure.net)",
    ),
    (
        "--timeout",
        "AKV_INIT_TIMEOUT",
        "2m",
        "7",
        "deadline  120 s",
    ),
    (
        "--identity",
        "AKV_INIT_IDENTITY",
        "workload",
        "managed",
        "identity  Entra (https://login.microsoftonline.com, workload identity with client id client, tenant tenant)",
    ),
    (
        "--client-id",
        "AKV_INIT_CLIENT_ID",
        "id-1",
        "id-2",
        "identity  IMDS (http://127.0.0.1:1, managed identity with client id id-1)",
    ),
    (
        "--object-id",
        "AKV_INIT_OBJECT_ID",
        "id-1",
        "id-2",
        "identity  IMDS (http://127.0.0.1:1, managed identity with object id id-1)",
    ),
    (
        "--resource-id",
        "AKV_INIT_RESOURCE_ID",
        "/subscriptions/1",
        "/subscriptions/2",
        "identity  IMDS (http://127.0.0.1:1, managed identity /subscriptions/1)",
    ),
    (
        "--cloud",
        "AKV_INIT_CLOUD",
        "china",
        "usgov",
        "secret    A <- https://kv1.vault.azure.cn/secrets/sa (resource https://vault.azure.cn)",
    ),
    (
        "--allow-vault",
        "AKV_INIT_ALLOW_VAULT",
        "one.example",
        "two.example",
        "secret    B <- https://one.example/secrets/sa (resource https://vault.azure.net)",
    ),
    (
        "--vault-resource",
        "AKV_INIT_VAULT_RESOURCE",
        "https://one",
        "https://two",
        "secret    B <- https://one.example/secrets/sa (resource https://one)",
    ),
];

/// What `--identity workload` and `--identity managed` need, and what is no setting of ours.
pub fn around(option: &str) -> &'static [(&'static str, &'static str)] {
    match option {
        "--identity" => &[
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
        ],
        _ => &[],
    }
}

#[test]
fn a_twin_does_what_its_option_does() {
    for (option, twin, value, _, line) in TWINS {
        let around = around(option);
        let by_option = plan(&[option, value], around);
        assert!(
            by_option.stdout.lines().any(|found| found == line),
            "{}",
            by_option.stdout
        );
        assert_eq!(
            plan(&[], &[around, &[(twin, value)]].concat()),
            by_option,
            "{twin}"
        );
    }
}

#[test]
fn an_option_beats_its_twin() {
    for (option, twin, value, other, _) in TWINS {
        let around = around(option);
        let by_option = plan(&[option, value], around);
        for ignored in [other, "!", ""] {
            let both = plan(&[option, value], &[around, &[(twin, ignored)]].concat());
            assert_eq!(both, by_option, "{twin}={ignored}");
        }
    }
}

#[test]
fn an_empty_variable_is_unset() {
    let without = plan(&[], &[]);
    for (_, twin, ..) in TWINS {
        if !["AKV_INIT_VAULT", "AKV_INIT_ALLOW_VAULT"].contains(&twin) {
            assert_eq!(plan(&[], &[(twin, "")]), without, "{twin}");
        }
    }
    let others = [
        "AKV_INIT_WAIT_FOR_ACCESS",
        "AKV_INIT_CA_FILE",
        "AKV_INIT_LOG_FORMAT",
        "AKV_INIT_OVERRIDE",
        "AKV_INIT_VERBOSE",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
        "KUBERNETES_SERVICE_HOST",
    ];
    for name in others {
        assert_eq!(plan(&[], &[(name, "")]), without, "{name}");
    }
    dry_run(&[])
        .env("A", "akv:///sa")
        .env("AKV_INIT_VAULT", "")
        .outcome()
        .failed(
            78,
            &[
                "error: A: the reference `akv:///sa` names no vault, and there is no default one",
                "hint: write akv://VAULT/NAME, or set --vault or AKV_INIT_VAULT",
            ],
        );
    let run = dry_run(&[])
        .env("B", "akv://one.example/sa")
        .env("AKV_INIT_ALLOW_VAULT", "");
    let line = "secret    B <- https://one.example/secrets/sa (resource that it names itself)";
    assert!(
        run.outcome()
            .stdout_alone()
            .lines()
            .any(|shown| shown == line)
    );
    // AZURE_POD_IDENTITY_AUTHORITY_HOST: IMDS is where it always is.
    let run = dry_run(&[])
        .env("A", "akv://kv1/sa")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "");
    let outcome = run.outcome();
    let expected = "identity  IMDS (http://169.254.169.254, managed identity)\n";
    assert!(
        outcome.stdout_alone().starts_with(expected),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_twin_with_a_value_that_its_option_does_not_take_is_the_manifests_error() {
    let vault =
        "a vault's name has 3 to 24 letters, digits and single hyphens, and starts with a letter";
    for (twin, value, why) in [
        (
            "AKV_INIT_TIMEOUT",
            "never",
            "`never` is not a duration like 90, 90s, 2m or 1h",
        ),
        (
            "AKV_INIT_WAIT_FOR_ACCESS",
            "-1",
            "`-1` is not a duration like 90, 90s, 2m or 1h",
        ),
        (
            "AKV_INIT_IDENTITY",
            "system",
            "`system` is not workload, managed, service-principal or cli",
        ),
        (
            "AKV_INIT_CLOUD",
            "AzureCloud",
            "`AzureCloud` is not public, usgov or china",
        ),
        ("AKV_INIT_OVERRIDE", "yes", "`yes` is not true or false"),
        ("AKV_INIT_VERBOSE", "2", "`2` is not true or false"),
        ("AKV_INIT_VAULT", "a_b", vault),
        (
            "AKV_INIT_ALLOW_VAULT",
            "one.example, a b",
            "this is not a host name",
        ),
    ] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa").env(twin, value);
        run.outcome()
            .failed(78, &[&format!("error: {twin}: {why}")]);
    }
    use std::os::unix::ffi::OsStrExt;
    for twin in [
        "AKV_INIT_TIMEOUT",
        "AKV_INIT_CLIENT_ID",
        "AZURE_CLIENT_ID",
        "AKV_INIT_VAULT",
    ] {
        let run = dry_run(&[]).env(twin, std::ffi::OsStr::from_bytes(b"\xff"));
        run.outcome()
            .failed(78, &[&format!("error: {twin}: the value is not UTF-8")]);
    }
}

#[test]
fn several_hosts_are_allowed_with_commas() {
    let allowed = [("AKV_INIT_ALLOW_VAULT", " two.example:8443,, ONE.example ,")];
    let run = |words: &[&str]| {
        let run = dry_run(words)
            .env("A", "akv://one.example/a")
            .env("B", "akv://two.example:8443/b");
        run.env(allowed[0].0, allowed[0].1).outcome()
    };
    let resources = |outcome: Outcome| -> Vec<String> {
        let lines = outcome.stdout_alone().lines();
        let resources = lines.filter_map(|line| line.split("(resource ").nth(1));
        resources
            .map(|rest| rest.trim_end_matches(')').to_owned())
            .collect()
    };
    let (cloud, itself) = ("https://vault.azure.net", "that it names itself");
    assert_eq!(resources(run(&[])), [cloud, cloud]);
    // An option beats the twin as a whole.
    assert_eq!(
        resources(run(&["--allow-vault", "one.example"])),
        [cloud, itself]
    );
}

#[test]
fn override_and_verbose_are_true_or_false() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let secret = format!("S=akv://{}/sa", azure.vault());
    let run = |words: &[&str], value: &str| {
        let run = exec(&azure, ["--secret", &secret])
            .args(words)
            .args(["/bin/sh", "-c", "echo $S"]);
        run.env("S", "other")
            .env("AKV_INIT_OVERRIDE", value)
            .env("AKV_INIT_VERBOSE", value)
            .outcome()
    };
    for (words, value) in [
        (&[][..], "true"),
        (&["--override", "--verbose"], ""),
        (&["--override", "-v"], "false"),
    ] {
        let outcome = run(words, value);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(0), "s3cret\n")
        );
        assert!(outcome.stderr.lines().count() >= 2, "{}", outcome.stderr);
        let debug = |line: &str| line.starts_with("akv-init: debug: ");
        assert!(outcome.stderr.lines().all(debug), "{}", outcome.stderr);
    }
    let outcome = run(&["--override"], "false");
    assert_eq!(outcome.stdout_alone(), "s3cret\n");
    assert_eq!(
        run(&[], "false").error(),
        Some("S: the variable has a value already")
    );
}

#[test]
fn a_ca_file_replaces_every_other_root() {
    let azure = Azure::start();
    let other = Azure::start();
    azure.secret("sa", "s3cret");
    let run = |words: &[&str], twin: &std::path::Path, trusted: &std::path::Path| {
        let run = exec(&azure, words).args(["/bin/sh", "-c", "echo $S"]);
        let run = run.env("S", format!("akv://{}/sa", azure.vault()));
        run.env("AKV_INIT_CA_FILE", twin)
            .env("SSL_CERT_FILE", trusted)
            .outcome()
    };
    let good = azure.ca_file();
    let bad = other.ca_file();
    let good_option = format!("--ca-file={}", good.display());
    assert_eq!(run(&[], good, bad).stdout_alone(), "s3cret\n");
    assert_eq!(run(&[&good_option], bad, bad).stdout_alone(), "s3cret\n");
    assert_eq!(run(&[], "".as_ref(), good).stdout_alone(), "s3cret\n");
    assert_eq!(run(&[], bad, good).code, Some(76));
}

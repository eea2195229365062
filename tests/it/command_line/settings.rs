//! Options and the equivalent variables: an option takes precedence over `AKV_INIT_…`, which takes precedence over
//! `AZURE_…`. An empty variable is unset.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{NO_IMDS, dry_run};
use crate::azure::{APPLICATION, Azure};
use crate::support::{Outcome, akv_init, exec};
use crate::support_identities::CLIENT;

/// A plan that shows every setting which `--dry-run` prints: two references, one without a vault and one to a host that
/// must be allowed.
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

type Equivalent = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    (&'static str, &'static str),
);

/// Each option with its variable, two values that are valid here, and the label and a part of the line that shows the
/// first one in the plan.
const EQUIVALENTS: [Equivalent; 9] = [
    (
        "--vault",
        "AKV_INIT_VAULT",
        "kv2",
        "kv3",
        ("secret", "A <- https://kv2.vault.azure.net/secrets/sa "),
    ),
    (
        "--timeout",
        "AKV_INIT_TIMEOUT",
        "2m",
        "7",
        ("deadline", "120 s"),
    ),
    (
        "--identity",
        "AKV_INIT_IDENTITY",
        "workload",
        "managed",
        (
            "identity",
            "workload identity with client id 11111111-2222-4333-8444-555555555555, tenant contoso.example",
        ),
    ),
    (
        "--client-id",
        "AKV_INIT_CLIENT_ID",
        CLIENT,
        APPLICATION,
        ("identity", "client id 11111111-2222-4333-8444-555555555555"),
    ),
    (
        "--object-id",
        "AKV_INIT_OBJECT_ID",
        CLIENT,
        APPLICATION,
        ("identity", "object id 11111111-2222-4333-8444-555555555555"),
    ),
    (
        "--resource-id",
        "AKV_INIT_RESOURCE_ID",
        "/subscriptions/1",
        "/subscriptions/2",
        ("identity", "/subscriptions/1"),
    ),
    (
        "--cloud",
        "AKV_INIT_CLOUD",
        "china",
        "usgov",
        ("secret", "A <- https://kv1.vault.azure.cn/secrets/sa "),
    ),
    (
        "--allow-vault",
        "AKV_INIT_ALLOW_VAULT",
        "one.example",
        "two.example",
        (
            "secret",
            "B <- https://one.example/secrets/sa (resource https://vault.azure.net)",
        ),
    ),
    (
        "--vault-resource",
        "AKV_INIT_VAULT_RESOURCE",
        "https://one",
        "https://two",
        (
            "secret",
            "B <- https://one.example/secrets/sa (resource https://one)",
        ),
    ),
];

/// The variables that `--identity workload` and `--identity managed` need.
pub fn around(option: &str) -> &'static [(&'static str, &'static str)] {
    match option {
        "--identity" => &[
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_TENANT_ID", "contoso.example"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
        ],
        _ => &[],
    }
}

#[test]
fn variable_is_equivalent_to_its_option() {
    for (option, variable, value, _, (label, part)) in EQUIVALENTS {
        let around = around(option);
        let by_option = plan(&[option, value], around);
        let shown = by_option.planned(label);
        assert!(shown.iter().any(|line| line.contains(part)), "{shown:?}");
        let by_variable = plan(&[], &[around, &[(variable, value)]].concat());
        assert_eq!(by_variable, by_option, "{variable}");
    }
}

#[test]
fn option_takes_precedence_over_its_variable() {
    for (option, variable, value, other, _) in EQUIVALENTS {
        let around = around(option);
        let by_option = plan(&[option, value], around);
        for ignored in [other, "!", ""] {
            let both = plan(&[option, value], &[around, &[(variable, ignored)]].concat());
            assert_eq!(both, by_option, "{variable}={ignored}");
        }
    }
}

#[test]
fn empty_variable_is_unset() {
    let without = plan(&[], &[]);
    for (_, variable, ..) in EQUIVALENTS {
        if !["AKV_INIT_VAULT", "AKV_INIT_ALLOW_VAULT"].contains(&variable) {
            assert_eq!(plan(&[], &[(variable, "")]), without, "{variable}");
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
    // As `docker run --env-file` passes NAME="" on.
    assert_eq!(plan(&[], &[("AZURE_CLIENT_ID", "\"\"")]), without);
    let no_vault = dry_run(&[]).env("A", "akv:///sa").env("AKV_INIT_VAULT", "");
    let failure = no_vault.failure(78, "config");
    failure
        .names("A")
        .names("akv:///sa")
        .hint_names("AKV_INIT_VAULT");
    let run = dry_run(&[]).env("B", "akv://one.example/sa");
    let outcome = run.env("AKV_INIT_ALLOW_VAULT", "").outcome();
    let secret = outcome.planned("secret").concat();
    // The vault names its resource itself.
    assert!(
        secret.starts_with("B <- https://one.example/secrets/sa "),
        "{secret}"
    );
    assert!(!secret.contains("(resource https://"), "{secret}");
    let run = dry_run(&[]).env("A", "akv://kv1/sa");
    let outcome = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "").outcome();
    let identity = outcome.planned("identity").concat();
    assert!(identity.contains("http://169.254.169.254"), "{identity}");
}

#[test]
fn invalid_variable_is_a_configuration_error() {
    for (name, value) in [
        ("AKV_INIT_TIMEOUT", "never"),
        ("AKV_INIT_WAIT_FOR_ACCESS", "-1"),
        ("AKV_INIT_IDENTITY", "system"),
        ("AKV_INIT_CLOUD", "AzureCloud"),
        ("AKV_INIT_OVERRIDE", "yes"),
        ("AKV_INIT_VERBOSE", "2"),
        ("AKV_INIT_VAULT", "a_b"),
        ("AKV_INIT_ALLOW_VAULT", "one.example, a b"),
        // A word of az's command line with `--identity cli`.
        ("AKV_INIT_VAULT_RESOURCE", "--tenant=other"),
        ("AKV_INIT_VAULT_RESOURCE", "https://vault.example/a b"),
    ] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa").env(name, value);
        run.failure(78, "config").names(name);
    }
    for name in [
        "AKV_INIT_TIMEOUT",
        "AKV_INIT_CLIENT_ID",
        "AZURE_CLIENT_ID",
        "AKV_INIT_VAULT",
    ] {
        let run = dry_run(&[]).env("A", "akv://kv1/sa");
        let run = run.env(name, OsStr::from_bytes(b"\xff"));
        run.failure(78, "config").names(name);
    }
}

/// Neither on standard output nor on standard error, whether the setting is accepted or not.
#[test]
fn setting_cannot_control_a_terminal_or_forge_a_line() {
    let text = "x\u{1b}[31m\u{9b}\u{61c}\u{202e}\rz\nforged";
    let value = |start: &str| format!("{start}{text}");
    for (name, start) in [
        ("AKV_INIT_CLIENT_ID", ""),
        ("AKV_INIT_RESOURCE_ID", "/subscriptions/"),
        ("AKV_INIT_VAULT_RESOURCE", "https://"),
        ("AKV_INIT_CA_FILE", "/nowhere/"),
        ("AZURE_TENANT_ID", ""),
        ("AZURE_CLIENT_SECRET_FILE", "/nowhere/"),
        ("IDENTITY_ENDPOINT", "http://"),
        ("IDENTITY_ENDPOINT", "http://localhost/"),
        ("A", "akv://kv1/"),
    ] {
        for command in [&["exec", "--dry-run"][..], &["exec"], &["check"]] {
            let run = akv_init(command).args(["--timeout", "0", "--secret", "B=akv://[::1]:1/sa"]);
            let run = run
                .args(["--", "/bin/true"])
                .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_IMDS)
                .env("IDENTITY_HEADER", "secret")
                .env(name, value(start));
            let outcome = run.outcome();
            for output in [&outcome.stdout, &outcome.stderr] {
                let is_unwanted =
                    |c: char| c.is_control() && c != '\n' || ['\u{61c}', '\u{202e}'].contains(&c);
                assert!(!output.contains(is_unwanted), "{name}: {output:?}");
                assert!(!output.contains("\nforged"), "{name}: {output:?}");
            }
        }
    }
}

#[test]
fn allowed_hosts_are_separated_by_commas() {
    let allowed = [("AKV_INIT_ALLOW_VAULT", " two.example:8443,, ONE.example ,")];
    let run = |words: &[&str]| {
        let run = dry_run(words)
            .env("A", "akv://one.example/a")
            .env("B", "akv://two.example:8443/b");
        run.env(allowed[0].0, allowed[0].1).outcome()
    };
    // Those of hosts that are allowed; another host names its resource itself.
    let resources = |outcome: Outcome| -> Vec<bool> {
        let secrets = outcome.planned("secret").into_iter();
        secrets
            .map(|line| line.contains("(resource https://vault.azure.net)"))
            .collect()
    };
    assert_eq!(resources(run(&[])), [true, true]);
    // The option replaces the whole variable.
    assert_eq!(
        resources(run(&["--allow-vault", "one.example"])),
        [true, false]
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
            .json()
    };
    for (words, value) in [
        (&[][..], "true"),
        (&["--override", "--verbose"], ""),
        (&["--override", "-v"], "false"),
    ] {
        let outcome = run(words, value).outcome();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(0), "s3cret\n")
        );
        let debug = outcome.lines_of("debug");
        assert!(debug.len() >= 2, "{}", outcome.stderr);
        assert_eq!(debug.len(), outcome.json_lines().len());
    }
    let outcome = run(&["--override"], "false").outcome();
    assert_eq!(outcome.stdout_alone(), "s3cret\n");
    run(&[], "false").failure(78, "config").names("S");
}

/// A reference that was meant to be there is missed at a glance.
#[test]
fn run_without_a_reference_is_logged_as_such() {
    let run = akv_init(["exec", "--verbose", "/bin/echo", "started"]).json();
    let outcome = run.outcome();
    assert_eq!(outcome.stdout, "started\n");
    assert_eq!(outcome.lines_of("debug").len(), 1, "{}", outcome.stderr);
}

#[test]
fn ca_file_replaces_all_other_roots() {
    let azure = Azure::start();
    let other = Azure::start();
    azure.secret("sa", "s3cret");
    let run = |words: &[&str], variable: &Path, trusted: &Path| {
        let run = exec(&azure, words).args(["/bin/sh", "-c", "echo $S"]);
        let run = run.env("S", format!("akv://{}/sa", azure.vault()));
        run.env("AKV_INIT_CA_FILE", variable)
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

//! Options and the equivalent variables: an option takes precedence over `AKV_INIT_…`, which takes precedence over
//! `AZURE_…`. An empty variable is unset.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{NO_IMDS, dry_run};
use crate::azure::{APPLICATION, Azure};
use crate::support::{Outcome, akv_init, exec};
use crate::support_files::Place;
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
        "AKV_INIT_THROTTLE_TIMEOUT",
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
        ("AKV_INIT_THROTTLE_TIMEOUT", "10 minutes"),
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

/// An image with an ENTRYPOINT leaves only variables to who runs it.
#[test]
fn names_of_variables_are_those_of_the_option_and_of_its_variable() {
    let script = "printf %s \"$A,$B,$C,$D\"";
    for (literal, unset, words) in [
        ("A,B", "D", &["--literal=C"][..]),
        (" C , A ,, B ", " D", &[]),
        ("\"A,B,C\"", "'D,E'", &["--unset=E"]),
        (
            "",
            "",
            &["--literal=A", "--literal=B", "--literal=C", "--unset=D"],
        ),
    ] {
        let run = akv_init(["exec"])
            .args(words)
            .args(["/bin/sh", "-c", script]);
        let run = run
            .env("AKV_INIT_LITERAL", literal)
            .env("AKV_INIT_UNSET", unset);
        let run = run
            .env("A", "akv://kv1")
            .env("B", "akv:/b")
            .env("C", "akv://c/d");
        let outcome = run.env("D", "akv://kv1/d").outcome();
        assert_eq!(outcome.stdout_alone(), "akv://kv1,akv:/b,akv://c/d,");
    }
    for (setting, words) in [
        ("AKV_INIT_LITERAL", &[][..]),
        ("AKV_INIT_UNSET", &["--literal=Y"]),
    ] {
        let run = dry_run(&[words, &["--secret", "X=akv://kv1/x"]].concat());
        let failure = run.env("Y", "").env(setting, "Z,X").failure(78, "config");
        failure.names("X").names(setting);
    }
    let run = dry_run(&[]).env("AKV_INIT_LITERAL", "NONE").json();
    let outcome = run.outcome();
    let warnings = outcome.lines_of("warning");
    let message = warnings[0]["message"].as_str().unwrap();
    assert!(message.contains("AKV_INIT_LITERAL=NONE"), "{message}");
}

#[test]
fn hint_names_the_variable_of_literal() {
    for value in ["akv:/kv1/x", "${akv://kv1/x}", "a akv://kv1/x"] {
        let failure = dry_run(&[]).env("S", value).failure(78, "config");
        failure
            .hint_names("--literal S")
            .hint_names("AKV_INIT_LITERAL=S");
    }
}

/// How COMMAND is started, by the last line of the plan.
#[test]
fn variables_supervise_like_the_options() {
    let group = "signals go to its process group; remaining processes get";
    let alone = "signals go to it alone; remaining processes get";
    for (words, init, drain, expected) in [
        (&[][..], "true", "", format!("{group} 5 s")),
        (&[], "1", "7", format!("{group} 7 s")),
        (&[], "group", "1m", format!("{group} 60 s")),
        (&[], "child", "0", format!("{alone} 0 s")),
        (&["--drain=8"], "child", "9", format!("{alone} 8 s")),
        (&["--init"], "child", "9", format!("{group} 9 s")),
        (&["--init=child"], "false", "", format!("{alone} 5 s")),
        (&[], "false", "", "exec      ".to_owned()),
        (&[], "", "", "exec      ".to_owned()),
    ] {
        let run = dry_run(words)
            .env("AKV_INIT_INIT", init)
            .env("AKV_INIT_DRAIN", drain);
        let outcome = run.outcome();
        let last = outcome.stdout_alone().lines().last().unwrap();
        assert!(last.contains(&expected), "{words:?} {init} {drain}: {last}");
    }
    for (setting, value) in [("AKV_INIT_INIT", "yes"), ("AKV_INIT_DRAIN", "never")] {
        let run = dry_run(&["--init"][usize::from(setting == "AKV_INIT_INIT")..]);
        run.env(setting, value).failure(78, "config").names(setting);
        let check = akv_init(["check"]).env(setting, value).outcome();
        assert_eq!(check.code, Some(78), "{}", check.stderr);
        assert!(check.stdout.contains(setting), "{}", check.stdout);
    }
    for words in [&["--init=true"][..], &["--init=0"]] {
        dry_run(words).failure(64, "usage").names("--init");
    }
    // Without a supervisor it is a warning, since a variable may be for several containers.
    let outcome = dry_run(&[]).env("AKV_INIT_DRAIN", "9").outcome();
    assert!(
        outcome.stderr.contains("AKV_INIT_DRAIN"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn name_alone_is_the_secret_of_that_name_in_the_default_vault() {
    for name in ["db-password", "S"] {
        let outcome = dry_run(&["--vault=kv1", "--secret", name]).outcome();
        let url = format!("{name} <- https://kv1.vault.azure.net/secrets/{name} ");
        let planned = outcome.planned("secret");
        assert!(
            planned.len() == 1 && planned[0].starts_with(&url),
            "{planned:?}"
        );
    }
    dry_run(&["--secret=db-password"])
        .failure(78, "config")
        .names("db-password")
        .hint_names("AKV_INIT_VAULT");
    // A variable's name that is no name of a secret, and NAME_FILE.
    for words in [
        ["--vault=kv1", "--secret=DB_PASSWORD"],
        ["--vault=kv1", "--memfd=db"],
    ] {
        dry_run(&words).failure(64, "usage");
    }
    let azure = Azure::start();
    azure.secret("db-password", "s3cret");
    let words = ["--secret=db-password", "/usr/bin/env"];
    let outcome = exec(&azure, words)
        .env("AKV_INIT_VAULT", azure.vault())
        .outcome();
    let line = "db-password=s3cret";
    assert!(outcome.stdout.lines().any(|it| it == line), "{outcome:?}");
    let place = Place::in_memory();
    let run = place.write(&azure, &["--secret=db-password"]);
    run.env("AKV_INIT_VAULT", azure.vault()).outcome();
    assert_eq!(place.read("db-password"), b"s3cret");
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

//! `entra-token:RESOURCE`: an access token as the value of a variable, so that a job needs no password at all.

use serde_json::json;

use crate::azure::{Answer, Azure, Door};
use crate::network::wire::{assert_got_it, connections, counts};
use crate::support::{Outcome, Run, akv_init, exec};
use crate::support_identities::{Source, leak, with};

const POSTGRES: &str = "https://ossrdbms-aad.database.windows.net";
const SQL: &str = "https://database.windows.net/";

fn job(azure: &Azure, words: &[&str]) -> Run {
    exec(azure, words)
}

/// The resources that were asked for at IMDS.
fn asked(azure: &Azure) -> Vec<String> {
    let mut asked: Vec<String> = azure
        .requests_at(Door::Imds)
        .iter()
        .map(|request| request.query("resource").unwrap())
        .collect();
    asked.sort();
    asked
}

/// A token in standard output, before the line end of printenv.
#[track_caller]
fn assert_printed(azure: &Azure, outcome: &Outcome) {
    let token = outcome.stdout_alone().strip_suffix('\n').expect("one line");
    assert!(
        azure.tokens().iter().any(|issued| issued == token),
        "{token}"
    );
}

#[test]
fn an_option_or_a_variable_gets_a_token() {
    let azure = Azure::start();
    let reference = format!("entra-token:{POSTGRES}");
    let option = job(
        &azure,
        &[
            "--secret",
            &format!("PGPASSWORD={reference}"),
            "--",
            "printenv",
            "PGPASSWORD",
        ],
    );
    assert_printed(&azure, &option.outcome());
    for written in [
        reference.clone(),
        format!("  {reference}\n"),
        reference.replace("entra-token", "ENTRA-Token"),
    ] {
        let variable = job(&azure, &["--", "printenv", "PGPASSWORD"]).env("PGPASSWORD", written);
        assert_printed(&azure, &variable.outcome());
    }
    assert_eq!(asked(&azure), [POSTGRES; 4]);
    // No vault is asked, and none needs a name.
    assert_eq!(counts(&azure), [4, 0, 0]);
    assert_eq!(azure.connections(Door::Vault), 0);
}

#[test]
fn each_source_can_give_it() {
    let azure = Azure::start();
    for source in [
        Source::AppService,
        Source::CloudShell,
        Source::MachineLearning,
        Source::Secret,
        Source::TokenProxy,
    ] {
        let words = [
            "--secret",
            "T=entra-token:https://database.windows.net/",
            "--",
            "printenv",
            "T",
        ];
        let run = exec(&azure, words).without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        assert_printed(&azure, &with(run, &source.environment(&azure)).outcome());
    }
}

/// One request for each resource, however many variables want it, and whether a vault wants it, too.
#[test]
fn each_resource_is_asked_for_once() {
    let azure = Azure::start();
    azure.secret("sql-sa", "pa$$w0rd of sa");
    let vault = azure.vault();
    let secret = format!("S=akv://{vault}/sql-sa");
    let run = job(
        &azure,
        &[
            "--secret",
            &secret,
            "--secret",
            "A=entra-token:https://database.windows.net/",
            "--secret",
            "B=entra-token:https://database.windows.net/",
            "--secret",
            "C=entra-token:https://vault.azure.net",
            "--secret",
            "D=entra-token:https://database.windows.net",
            "--",
            "sh",
            "-c",
            "test \"$A\" = \"$B\" && test \"$A\" != \"$C\" && test \"$A\" != \"$D\" && printenv S",
        ],
    );
    assert_got_it(&run.outcome());
    // A slash at the end makes another audience.
    assert_eq!(
        asked(&azure),
        [
            "https://database.windows.net",
            SQL,
            "https://vault.azure.net"
        ]
    );
    assert_eq!(counts(&azure), [3, 0, 1]);
}

/// One line at `--verbose` for whoever would put such a token into a server that runs for days.
#[test]
fn verbose_says_when_the_token_ends() {
    let azure = Azure::start();
    azure.next(
        Door::Imds,
        Answer::token(json!({"expires_on": "4102444800"})),
    );
    let reference = format!("PGPASSWORD=entra-token:{POSTGRES}");
    let outcome = job(&azure, &["--verbose", "--secret", &reference, "--", "true"]).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let line = "akv-init: debug: PGPASSWORD: this token ends at 2100-01-01 00:00:00 UTC; a process that runs longer \
                should get its own\n";
    assert_eq!(
        outcome.stderr.matches(line).count(),
        1,
        "{}",
        outcome.stderr
    );
    assert_eq!(leak(&azure, &outcome, &[]), None);
    // `token` has no variable that it is for.
    let outcome = akv_init(["token", "--verbose"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .outcome();
    let said = "akv-init: debug: this token ends at ";
    assert_eq!(
        outcome.stderr.matches(said).count(),
        1,
        "{}",
        outcome.stderr
    );
    // Where it is only for a vault, nobody else holds it.
    azure.secret("a", "b");
    let reference = format!("S=akv://{}/a", azure.vault());
    let outcome = job(&azure, &["--verbose", "--secret", &reference, "--", "true"]).outcome();
    assert!(
        !outcome.stderr.contains("this token ends"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_dry_run_shows_it_and_asks_nobody() {
    let azure = Azure::start();
    let reference = format!("PGPASSWORD=entra-token:{POSTGRES}");
    let run = job(
        &azure,
        &["--dry-run", "--secret", &reference, "--", "/bin/true"],
    );
    let outcome = run
        .env("DB", "entra-token:https://database.windows.net/")
        .outcome();
    assert_eq!(
        outcome.stdout_alone(),
        format!(
            "identity  IMDS ({}, managed identity)\n\
             token     DB <- for {SQL}\n\
             token     PGPASSWORD <- for {POSTGRES}\n\
             deadline  30 s\n\
             become    /bin/true\n",
            azure.imds()
        )
    );
    assert_eq!(connections(&azure), 0);
}

#[test]
fn what_is_no_resource_is_refused_before_any_request() {
    let azure = Azure::start();
    let missing = (
        "the resource is missing",
        Some("write entra-token:https://database.windows.net/"),
    );
    let scope = (
        "this is a scope, not a resource",
        Some("leave /.default out, or give it to `akv-init token` with --scope"),
    );
    let form = ("a resource is a URL, or an application's id", None);
    for (resource, shown, (said, hint)) in [
        ("", "entra-token:", missing),
        ("-x", "entra-token:-x", missing),
        (
            "https://vault.azure.net/.default",
            "entra-token:https://vault.azure.net/.default",
            scope,
        ),
        ("https://a?LEAK=1", "entra-token:https://a…", form),
        ("https://a b LEAK", "entra-token:https://a…", form),
        ("https://a;Password=LEAK", "entra-token:https://a…", form),
        ("https://user:LEAK@a", "entra-token:https://user…", form),
        ("https://a/%2F", "entra-token:https://a/…", form),
    ] {
        let line = format!("error: PGPASSWORD: malformed reference `{shown}`: {said}");
        let hint = hint.map(|hint| format!("hint: {hint}"));
        let lines: Vec<&str> = std::iter::once(line.as_str())
            .chain(hint.as_deref())
            .collect();
        let variable =
            job(&azure, &["--", "true"]).env("PGPASSWORD", format!("entra-token:{resource}"));
        variable.outcome().failed(78, &lines);
        let option = format!("PGPASSWORD=entra-token:{resource}");
        job(&azure, &["--secret", &option, "--", "true"])
            .outcome()
            .failed(78, &lines);
    }
    assert_eq!(connections(&azure), 0);
}

/// As with secrets: where one is inside a longer text, it would stay there.
#[test]
fn a_text_that_only_contains_one_is_refused_as_a_secrets_is() {
    let azure = Azure::start();
    let run = job(&azure, &["--", "true"])
        .env("DSN", "password=entra-token:https://database.windows.net/");
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    let said = "DSN: the value contains a reference but is not one as a whole";
    assert_eq!(outcome.error(), Some(said));
}

#[test]
fn the_rules_for_targets_are_the_same() {
    let azure = Azure::start();
    let reference = |name: &str| format!("{name}=entra-token:{POSTGRES}");
    for (name, said) in [
        (
            "PATH",
            "PATH: this variable decides which code runs; a secret may not set it",
        ),
        (
            "1X",
            "1X: a variable's name has letters, digits and `_`, and does not start with a digit",
        ),
    ] {
        let outcome = job(&azure, &["--secret", &reference(name), "--", "true"]).outcome();
        assert_eq!((outcome.code, outcome.error()), (Some(78), Some(said)));
    }
    // A value is the application's, unless it is said otherwise.
    let taken = job(&azure, &["--secret", &reference("T"), "--", "true"]).env("T", "value");
    assert_eq!(taken.outcome().code, Some(78));
    let taken = job(
        &azure,
        &[
            "--override",
            "--secret",
            &reference("T"),
            "--",
            "printenv",
            "T",
        ],
    )
    .env("T", "value");
    assert_printed(&azure, &taken.outcome());
    let literal = job(&azure, &["--literal", "T", "--", "printenv", "T"]).env("T", "entra-token:x");
    assert_eq!(literal.outcome().stdout_alone(), "entra-token:x\n");
    assert_eq!(counts(&azure), [1, 0, 0]);
}

/// All or none: a token that cannot be had keeps the command from starting as a secret does.
#[test]
fn without_it_the_command_is_not_started() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    azure.next_for(
        Door::Imds,
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fnobody",
        Answer::imds_error(
            400,
            "invalid_resource",
            "AADSTS500011: The resource principal named https://nobody was not found.",
        ),
    );
    let secret = format!("S=akv://{}/sql-sa", azure.vault());
    let outcome = job(
        &azure,
        &[
            "--secret",
            &secret,
            "--secret",
            "T=entra-token:https://nobody",
            "--",
            "echo",
            "started",
        ],
    )
    .outcome();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(78), ""),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.error().is_some_and(
            |error| error.contains("AADSTS500011: The resource principal named https://nobody")
        ),
        "{}",
        outcome.stderr
    );
}

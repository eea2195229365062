//! `entra-token:RESOURCE`: an access token as the value of a variable, for a job without a password.

use serde_json::json;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Outcome, Run, exec};
use crate::support_identities::{Source, leak, with};
use crate::support_requests::{assert_got_it, connections, counts};

const POSTGRES: &str = "https://ossrdbms-aad.database.windows.net";
const SQL: &str = "https://database.windows.net/";

fn job(azure: &Azure, words: &[&str]) -> Run {
    exec(azure, words)
}

/// The resources of the requests at IMDS.
fn resources(azure: &Azure) -> Vec<String> {
    let mut resources: Vec<String> = azure
        .requests_at(Endpoint::Imds)
        .iter()
        .map(|request| request.query("resource").unwrap())
        .collect();
    resources.sort();
    resources
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
fn token_is_the_value_of_a_variable_or_an_option() {
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
    assert_eq!(resources(&azure), [POSTGRES; 4]);
    assert_eq!(counts(&azure), [4, 0, 0]);
    assert_eq!(azure.connections(Endpoint::Vault), 0);
}

#[test]
fn every_source_provides_the_token() {
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

/// However many variables need it, and a vault as well.
#[test]
fn each_resource_is_requested_once() {
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
        resources(&azure),
        [
            "https://database.windows.net",
            SQL,
            "https://vault.azure.net"
        ]
    );
    assert_eq!(counts(&azure), [3, 0, 1]);
}

/// A token in a server that runs for days expires there.
#[test]
fn verbose_shows_when_the_token_expires() {
    let azure = Azure::start();
    let good = Response::token(json!({"expires_on": "4102444800"}));
    azure.next(Endpoint::Imds, good);
    let reference = format!("PGPASSWORD=entra-token:{POSTGRES}");
    let words = ["--verbose", "--secret", &reference, "--", "true"];
    let outcome = job(&azure, &words).json().outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines = outcome.lines_of("debug");
    let found = lines.iter().filter(|line| line["for"] == "PGPASSWORD");
    let expires: Vec<_> = found.map(|line| &line["expires"]).collect();
    assert_eq!(expires, ["2100-01-01 00:00:00 UTC"]);
    assert_eq!(leak(&azure, &outcome, &[]), None);
    // A token for a vault does not reach COMMAND.
    azure.secret("a", "b");
    let reference = format!("S=akv://{}/a", azure.vault());
    let words = ["--verbose", "--secret", &reference, "--", "true"];
    let outcome = job(&azure, &words).json().outcome();
    let lines = outcome.lines_of("debug");
    assert!(lines.iter().all(|line| line["for"].is_null()), "{lines:?}");
}

#[test]
fn dry_run_shows_the_resource_and_makes_no_request() {
    let azure = Azure::start();
    let reference = format!("PGPASSWORD=entra-token:{POSTGRES}");
    let run = job(
        &azure,
        &["--dry-run", "--secret", &reference, "--", "/bin/true"],
    );
    let outcome = run.env("DB", format!("entra-token:{SQL}")).outcome();
    let plan = outcome.stdout_alone();
    for fact in [&azure.imds(), "DB", SQL, "PGPASSWORD", POSTGRES] {
        assert!(plan.contains(fact), "{fact} is not in {plan}");
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn malformed_resource_is_rejected_before_any_request() {
    let azure = Azure::start();
    for (resource, shown, hint) in [
        ("", "entra-token:", true),
        ("-x", "entra-token:-x", true),
        (
            "https://vault.azure.net/.default",
            "https://vault.azure.net/.default",
            true,
        ),
        ("https://a?LEAK=1", "entra-token:https://a", false),
        ("https://a b LEAK", "entra-token:https://a", false),
        ("https://a;Password=LEAK", "entra-token:https://a", false),
        ("https://user:LEAK@a", "entra-token:https://user", false),
        ("https://a/%2F", "entra-token:https://a/", false),
    ] {
        let reference = format!("entra-token:{resource}");
        let option = format!("PGPASSWORD={reference}");
        for run in [
            job(&azure, &["--", "true"]).env("PGPASSWORD", &reference),
            job(&azure, &["--secret", &option, "--", "true"]),
        ] {
            let failure = run.failure(78, "config");
            failure.names("PGPASSWORD").names(shown).omits("LEAK");
            assert_eq!(failure.line["hint"].is_string(), hint, "{resource}");
        }
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn value_that_only_contains_a_reference_is_rejected() {
    let azure = Azure::start();
    let value = "password=entra-token:https://database.windows.net/";
    let run = job(&azure, &["--", "true"]).env("DSN", value);
    run.failure(78, "config").names("DSN");
}

#[test]
fn rules_for_names_of_variables_apply() {
    let azure = Azure::start();
    let reference = |name: &str| format!("{name}=entra-token:{POSTGRES}");
    for name in ["PATH", "a b"] {
        let run = job(&azure, &["--secret", &reference(name), "--", "true"]);
        run.failure(78, "config").names(name);
    }
    // The application's own value is kept unless an option says otherwise.
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

#[test]
fn command_is_not_started_without_the_token() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    let text = "AADSTS500011: The resource principal named https://unknown was not found.";
    let path =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Funknown";
    let refusal = Response::imds_error(400, "invalid_resource", text);
    azure.next_for(Endpoint::Imds, path, refusal);
    let secret = format!("S=akv://{}/sql-sa", azure.vault());
    let token = "T=entra-token:https://unknown";
    let words = [
        "--secret", &secret, "--secret", token, "--", "echo", "started",
    ];
    let failure = job(&azure, &words).failure(78, "config");
    failure.names("AADSTS500011").names("https://unknown");
}

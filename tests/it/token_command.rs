//! `akv-init token`: an access token on standard output, for every resource and from every source, and nothing there on
//! failure.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::azure::{Azure, Endpoint, Response, TENANT};
use crate::support::Outcome;
use crate::support_identities::{
    Source, VAULT, assert_token, leak, only_request, outcome_without_stdout,
};
use crate::support_inherited as inherited;
use crate::support_listen::Listened;
use crate::support_requests::connections;

const SQL: &str = "https://database.windows.net/";
const POSTGRES: &str = "https://ossrdbms-aad.database.windows.net";

/// Every source but Azure Arc, whose key needs a namespace.
fn sources() -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Arc)
}

#[test]
fn every_source_gives_a_token() {
    let azure = Azure::start();
    for source in sources() {
        assert_token(&azure, &source.token(&azure, &[]).outcome());
        assert_eq!(azure.connections(Endpoint::Vault), 0);
    }
}

#[test]
fn verbose_shows_source_resource_and_expiry() {
    let azure = Azure::start();
    for source in sources() {
        let outcome = source.token(&azure, &["--verbose"]).json().outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let lines = outcome.lines_of("debug");
        let found = lines.iter().find(|line| line["resource"] == VAULT);
        let line = found.unwrap_or_else(|| panic!("{lines:?}"));
        let host = match source.endpoint() {
            Endpoint::Imds => azure.imds(),
            Endpoint::Platform => azure.platform(),
            _ => azure.login(),
        };
        assert!(line["identity"].as_str().unwrap().contains(&host), "{line}");
        assert!(
            line["expires"].as_str().unwrap().starts_with("20"),
            "{line}"
        );
        let quiet = Outcome {
            stdout: String::new(),
            ..outcome
        };
        assert_eq!(leak(&azure, &quiet, &[]), None, "{source:?}");
    }
}

/// Including a slash at its end, which is a part of the audience of some services.
#[test]
fn resource_is_requested_unchanged() {
    let azure = Azure::start();
    for (words, resource) in [
        (&[][..], VAULT),
        (&[SQL], SQL),
        (&[POSTGRES], POSTGRES),
        (
            &["https://storage.azure.com/"],
            "https://storage.azure.com/",
        ),
        (&["--", POSTGRES], POSTGRES),
        (&["--scope", "https://vault.azure.net/.default"], VAULT),
        // By Entra's rule the audience is the text before the last `/.default`.
        (&["--scope", "https://database.windows.net//.default"], SQL),
        (
            &["--scope=https://ossrdbms-aad.database.windows.net/.default"],
            POSTGRES,
        ),
        (&["--cloud", "usgov"], "https://vault.usgovcloudapi.net"),
        (&["--cloud", "china"], "https://vault.azure.cn"),
    ] {
        for source in [
            Source::AppService,
            Source::CloudShell,
            Source::Imds,
            Source::Workload,
        ] {
            assert_token(&azure, &source.token(&azure, words).outcome());
            let request = azure.requests_at(source.endpoint()).pop().unwrap();
            let requested = match source {
                Source::Workload => request.form("scope"),
                Source::CloudShell => request.form("resource"),
                _ => request.query("resource"),
            };
            let expected = match source {
                Source::Workload => format!("{resource}/.default"),
                _ => resource.to_owned(),
            };
            assert_eq!(requested, Some(expected), "{words:?}");
        }
    }
}

#[test]
fn resource_may_be_the_id_of_an_application() {
    let azure = Azure::start();
    let id = "6dae42f8-4368-4678-94ff-3960e28e3630";
    for resource in [id, "api://my-app"] {
        assert_token(&azure, &Source::Secret.token(&azure, &[resource]).outcome());
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(request.form("scope"), Some(format!("{resource}/.default")));
    }
}

#[test]
fn usage_error_is_64_before_any_request() {
    let azure = Azure::start();
    let scope = "https://vault.azure.net/.default";
    for (words, named) in [
        (
            &["--scope", "https://graph.microsoft.com/User.Read"][..],
            "--scope",
        ),
        (&["--scope", VAULT], "--scope"),
        (&["--scope", VAULT, "--scope", VAULT], "--scope"),
        (&["--scope", scope, VAULT], "--scope"),
        (&[VAULT, "more"], "`more`"),
        (&["https://a b"], "https://a b"),
        (&["https://a?b=c"], "https://a?b=c"),
        (&[scope], scope),
        (&["--vault", "kv1"], "--vault"),
        (&["--secret", "A=b"], "--secret"),
        (&["--dry-run"], "--dry-run"),
        (&["--bogus"], "--bogus"),
        (&["--identity", "unknown"], "`unknown`"),
    ] {
        let run = Source::Imds.token(&azure, words);
        run.failure(64, "usage").names(named).hinted();
    }
    assert_eq!(connections(&azure), 0);
}

/// A script would go on with the half of a response.
#[test]
fn nothing_is_printed_without_a_token() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::imds_not_found());
    let failure = Source::Imds.token(&azure, &[]).failure(77, "denied");
    failure.names(&azure.imds()).hinted();
}

#[test]
fn token_that_cannot_be_written_is_an_error() {
    let azure = Azure::start();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Source::Imds.token(&azure, &[]).json().with(|command| {
        command.stdout(Stdio::from(full));
    });
    outcome_without_stdout(run).failure(73, "cannot create");
    let run = Source::Imds.token(&azure, &[]);
    let run = run.with(|command| inherited::close(command, &[1]));
    run.failure(73, "cannot create");
}

/// A password that ends in a line end is another password.
#[test]
fn line_end_is_added_only_on_a_terminal() {
    let azure = Azure::start();
    assert_token(&azure, &Source::Imds.token(&azure, &[]).outcome());
    let terminal = openpty(None, None).unwrap();
    let run = Source::Imds.token(&azure, &[]).with(|command| {
        command.stdout(Stdio::from(terminal.slave));
    });
    let outcome = outcome_without_stdout(run);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let mut output = Vec::new();
    // The end of a terminal whose other side is closed is EIO, after its output.
    let _ = File::from(terminal.master).read_to_end(&mut output);
    let output = String::from_utf8(output).unwrap();
    // The terminal makes two characters of a line end.
    let token = output.strip_suffix("\r\n").expect("a line end");
    assert!(
        azure.tokens().iter().any(|issued| issued == token),
        "{output:?}"
    );
}

/// `exec` has 120 s.
#[test]
fn deadline_is_15_s_unless_a_setting_changes_it() {
    let azure = Azure::start();
    let throttled = |seconds: &str| Response::status(429).header("Retry-After", seconds);
    let token = |options: &[&str]| Source::Imds.token(&azure, options);
    for (run, seconds) in [
        (token(&[]), "16"),
        (token(&["--timeout", "10"]), "11"),
        (token(&[]).env("AKV_INIT_TIMEOUT", "10s"), "11"),
    ] {
        azure.next(Endpoint::Imds, throttled(seconds));
        run.failure(69, "unavailable").names(seconds);
    }
    azure.next(Endpoint::Imds, throttled("14"));
    let mut run = Listened::start(token(&["--verbose"]).json());
    // Retry-After is a minimum.
    let next = run.until_attempt(1)["next_ms"].as_u64();
    assert!((14_000..15_000).contains(&next.expect("a number")));
    run.signal(Signal::SIGTERM);
    assert_eq!(run.outcome().code, Some(143));
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 4);
}

#[test]
fn references_in_the_environment_are_ignored() {
    let azure = Azure::start();
    let run = Source::Workload
        .token(&azure, &[])
        .env("PASSWORD", "akv://prod-kv/sql-sa")
        .env("BROKEN", "akv://")
        .env("AKV_INIT_VAULT", "_");
    assert_token(&azure, &run.outcome());
    assert_eq!(
        only_request(&azure, Endpoint::Login).target,
        format!("/{TENANT}/oauth2/v2.0/token")
    );
}

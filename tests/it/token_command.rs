//! `akv-init token`: an access token on standard output and nothing else there; for which resource, from which of all
//! sources, and what it says when there is none.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::azure::{Answer, Azure, Door, TENANT};
use crate::become_command::inherited;
use crate::network::listen::Listened;
use crate::network::wire::connections;
use crate::support::akv_init;
use crate::support_identities::{
    Source, VAULT, assert_token, leak, only_request, outcome_without_stdout,
};

const SQL: &str = "https://database.windows.net/";
const POSTGRES: &str = "https://ossrdbms-aad.database.windows.net";

/// Every source but Azure Arc, whose key needs a namespace.
fn sources() -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Arc)
}

#[test]
fn every_source_gives_a_token_and_says_nothing_else() {
    let azure = Azure::start();
    for source in sources() {
        assert_token(&azure, &source.token(&azure, &[]).outcome());
        // The vault is not asked, and not even connected to.
        assert_eq!(azure.connections(Door::Vault), 0);
    }
}

#[test]
fn at_verbose_it_says_from_whom_and_until_when_and_no_more() {
    let azure = Azure::start();
    for source in sources() {
        let outcome = source.token(&azure, &["--verbose"]).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let line = format!(
            "akv-init: debug: got an access token for {VAULT} from {}, good until 20",
            source.describe(&azure)
        );
        assert!(outcome.stderr.contains(&line), "{line}\n{}", outcome.stderr);
        let quiet = crate::support::Outcome {
            stdout: String::new(),
            ..outcome
        };
        assert_eq!(leak(&azure, &quiet, &[]), None, "{source:?}");
    }
}

/// The resource as it was typed, a slash at its end included: for some services it belongs to the audience.
#[test]
fn the_resource_is_asked_for_as_it_is() {
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
        // N8, and Entra's rule: what stands before the last `/.default` is the audience.
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
            let request = azure.requests_at(source.door()).pop().unwrap();
            let asked = match source {
                Source::Workload => request.form("scope"),
                Source::CloudShell => request.form("resource"),
                _ => request.query("resource"),
            };
            let expected = match source {
                Source::Workload => format!("{resource}/.default"),
                _ => resource.to_owned(),
            };
            assert_eq!(asked, Some(expected), "{words:?}");
        }
    }
}

/// An application's id is a resource, too.
#[test]
fn a_resource_need_not_be_a_url() {
    let azure = Azure::start();
    let id = "6dae42f8-4368-4678-94ff-3960e28e3630";
    for resource in [id, "api://my-app"] {
        assert_token(&azure, &Source::Secret.token(&azure, &[resource]).outcome());
        let request = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(request.form("scope"), Some(format!("{resource}/.default")));
    }
}

#[test]
fn what_is_typed_wrongly_is_64_and_no_request() {
    let azure = Azure::start();
    let scope = "--scope: only a scope that ends in /.default has a token without a user";
    let form = |text: &str| format!("{text}: a resource is a URL, or an application's id");
    for (words, said) in [
        (
            &["--scope", "https://graph.microsoft.com/User.Read"][..],
            scope.to_owned(),
        ),
        (&["--scope", "https://vault.azure.net"], scope.to_owned()),
        (
            &["--scope", VAULT, "--scope", VAULT],
            "--scope is given twice".to_owned(),
        ),
        (
            &["--scope", "https://vault.azure.net/.default", VAULT],
            "RESOURCE and --scope say the same: give one".to_owned(),
        ),
        (&[VAULT, "more"], "`more` is one word too many".to_owned()),
        (&["https://a b"], form("https://a b")),
        (&["https://a?b=c"], form("https://a?b=c")),
        (&["https://vault.azure.net/.default"], {
            "https://vault.azure.net/.default: this is a scope, not a resource".to_owned()
        }),
        (
            &["--vault", "kv1"],
            "--vault is no option of token".to_owned(),
        ),
        (
            &["--secret", "A=b"],
            "--secret is no option of token".to_owned(),
        ),
        (&["--dry-run"], "--dry-run is no option of token".to_owned()),
        (&["--bogus"], "unknown option `--bogus`".to_owned()),
        (&["--identity", "nobody"], {
            "--identity: `nobody` is not workload, managed, service-principal or cli".to_owned()
        }),
    ] {
        Source::Imds.token(&azure, words).outcome().failed(
            64,
            &[&format!("error: {said}"), "hint: see akv-init --help"],
        );
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn help_tells_of_it() {
    let help = akv_init(["token", "--help"]).outcome();
    let text = help.stdout_alone();
    for word in [
        "akv-init token [OPTIONS] [RESOURCE | --scope SCOPE]",
        "--scope",
        "--identity service-principal",
        "--identity cli",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
    ] {
        assert!(text.contains(word), "the help does not tell of {word}");
    }
    let whole = akv_init(["--help"]).outcome();
    assert!(whole.stdout_alone().contains("entra-token:"));
}

/// Nothing of a half-made answer: a script would go on with it.
#[test]
fn without_a_token_nothing_is_printed() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::imds_not_found());
    let outcome = Source::Imds.token(&azure, &[]).outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(77), ""));
    let begin = format!(
        "{}: 400 Bad Request (invalid_request): Identity not found",
        Source::Imds.asking(&azure)
    );
    assert!(
        outcome
            .error()
            .is_some_and(|error| error.starts_with(&begin)),
        "{}",
        outcome.stderr
    );
}

/// A token that did not arrive is no success.
#[test]
fn a_token_that_cannot_be_written_is_an_error() {
    let azure = Azure::start();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Source::Imds.token(&azure, &[]).with(|command| {
        command.stdout(Stdio::from(full));
    });
    let why = "error: writing the access token to standard output: ";
    let full = format!("{why}No space left on device (os error 28)");
    outcome_without_stdout(run).failed(73, &[&full]);
    let run = Source::Imds.token(&azure, &[]);
    let run = run.with(|command| inherited::close(command, &[1]));
    let closed = format!("{why}it is closed");
    run.outcome().failed(73, &[&closed]);
}

/// A line end is for whoever looks at it: a password that ends in one is another password.
#[test]
fn a_line_end_comes_only_on_a_terminal() {
    let azure = Azure::start();
    assert_token(&azure, &Source::Imds.token(&azure, &[]).outcome());
    let terminal = openpty(None, None).unwrap();
    let run = Source::Imds.token(&azure, &[]).with(|command| {
        command.stdout(Stdio::from(terminal.slave));
    });
    let outcome = outcome_without_stdout(run);
    let note = "akv-init: this is secret: it is in the terminal's memory now\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), note));
    let mut said = Vec::new();
    // Once nobody has the other end any more, the end is an error here (EIO), behind all that was said.
    let _ = File::from(terminal.master).read_to_end(&mut said);
    let said = String::from_utf8(said).unwrap();
    // The terminal makes two characters of a line end.
    let token = said.strip_suffix("\r\n").expect("a line end");
    assert!(
        azure.tokens().iter().any(|issued| issued == token),
        "{said:?}"
    );
}

/// Somebody waits for it: fifteen seconds, where `exec` has two minutes.
#[test]
fn its_deadline_is_fifteen_seconds() {
    let azure = Azure::start();
    let too_long = Answer::status(429).header("Retry-After", "16");
    azure.next(Door::Imds, too_long.clone());
    let outcome = Source::Imds.token(&azure, &[]).outcome();
    assert_eq!(outcome.code, Some(69));
    let end = "it asks for 16 s without a request, which is past the deadline";
    assert!(
        outcome.error().is_some_and(|error| error.ends_with(end)),
        "{}",
        outcome.stderr
    );
    // Not at fourteen: it waits, until somebody loses patience.
    azure.next(Door::Imds, Answer::status(429).header("Retry-After", "14"));
    let mut run = Listened::start(Source::Imds.token(&azure, &["--verbose"]));
    run.until("next in 14000 ms");
    run.signal(Signal::SIGTERM);
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    // An option and its twin say otherwise.
    for run in [
        Source::Imds.token(&azure, &["--timeout", "10"]),
        Source::Imds
            .token(&azure, &[])
            .env("AKV_INIT_TIMEOUT", "10s"),
    ] {
        azure.next(Door::Imds, Answer::status(429).header("Retry-After", "11"));
        assert_eq!(run.outcome().code, Some(69));
    }
    assert_eq!(azure.requests_at(Door::Imds).len(), 4);
}

/// What is `exec`'s business in the environment is passed over here.
#[test]
fn references_in_the_environment_are_not_looked_at() {
    let azure = Azure::start();
    let run = Source::Workload
        .token(&azure, &[])
        .env("PASSWORD", "akv://prod-kv/sql-sa")
        .env("BROKEN", "akv://")
        .env("AKV_INIT_VAULT", "_");
    assert_token(&azure, &run.outcome());
    assert_eq!(
        only_request(&azure, Door::Login).target,
        format!("/{TENANT}/oauth2/v2.0/token")
    );
}

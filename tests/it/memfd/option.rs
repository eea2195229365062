//! `?file`: a file in memory without a word on the command line.

use nix::sys::resource::Resource;

use crate::azure::{Azure, Endpoint};
use crate::support::{Run, exec};
use crate::support_files::Place;
use crate::support_inherited as inherited;

fn azure() -> Azure {
    let azure = Azure::start();
    azure.secret("pg", "hunter2\n");
    azure
}

fn reference(azure: &Azure, rest: &str) -> String {
    format!("akv://{}/{rest}", azure.vault())
}

fn printing(azure: &Azure) -> Run {
    exec(
        azure,
        ["/bin/sh", "-c", "cat $P_FILE; printf %s \"${P-unset}\""],
    )
}

#[test]
fn variable_gets_a_path() {
    let azure = azure();
    let run = printing(&azure)
        .env("P_FILE", reference(&azure, "pg?file"))
        .env("P", reference(&azure, "pg?trim"));
    assert_eq!(run.outcome().stdout_alone(), "hunter2\nhunter2");
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
    let memfd = format!("--memfd=P_FILE={}", reference(&azure, "pg?file&trim"));
    let run = exec(&azure, [memfd.as_str(), "/bin/sh", "-c", "cat $P_FILE"]);
    assert_eq!(run.outcome().stdout_alone(), "hunter2");
    let run = exec(&azure, ["--dry-run", "/bin/true"]).env("P_FILE", "akv://kv1/pg?file");
    assert_eq!(run.outcome().planned("memfd").len(), 1);
}

#[test]
fn variable_is_removed_if_it_is_optional() {
    let azure = azure();
    let run = printing(&azure).env("P", reference(&azure, "absent?file&optional"));
    let outcome = run.env("P_FILE", "/dev/null").outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "unset"));
}

/// One file for each variable, and the limit on open files counts each.
#[test]
fn limit_of_open_files_is_that_of_the_option() {
    let azure = azure();
    let limited = |limit| {
        let run = printing(&azure).env("P_FILE", reference(&azure, "pg?file"));
        let run = run.env("Q_FILE", reference(&azure, "pg?file&trim"));
        run.with(move |command| {
            inherited::limit(command, Resource::RLIMIT_NOFILE, limit, limit);
        })
    };
    let failure = limited(101).failure(73, "cannot create");
    failure.names("101").hint_names("102");
    assert_eq!(azure.connections(Endpoint::Vault), 0);
    assert_eq!(limited(102).outcome().stdout_alone(), "hunter2\nunset");
}

#[test]
fn two_sources_are_an_error() {
    let azure = azure();
    let memfd = format!("--memfd=P_FILE={}", reference(&azure, "pg"));
    let run = exec(&azure, [memfd.as_str(), "/bin/true"]);
    let run = run.env("P_FILE", reference(&azure, "pg?file"));
    run.failure(78, "config").names("P_FILE");
}

#[test]
fn write_ignores_it() {
    let azure = azure();
    let place = Place::in_memory();
    let secret = format!("--secret=pg={}", reference(&azure, "pg?file"));
    place.wrote(&azure, &[&secret]);
    assert_eq!(place.read("pg"), b"hunter2\n");
    let run = place.write(&azure, &["--output=json:all", "--from-env"]);
    place.quiet(
        &run.env("P_FILE", reference(&azure, "pg?file&trim"))
            .outcome(),
    );
    assert_eq!(place.read("all"), b"{\n  \"P_FILE\": \"hunter2\"\n}\n");
}

#[test]
fn name_of_a_path_with_a_value_is_a_warning() {
    let azure = azure();
    let run = |name: &str, words: &[&str]| {
        let run = exec(&azure, words).args(["/bin/true"]);
        run.env(name, reference(&azure, "pg?trim")).json().outcome()
    };
    for name in ["P_FILE", "GITEA__DB__FILE", "FILE__P"] {
        let warnings = run(name, &[]).lines_of("warning");
        assert_eq!(warnings.len(), 1, "{name}");
        assert!(warnings[0]["message"].as_str().unwrap().contains(name));
    }
    for name in ["PROFILE", "P_FILES", "FILE_P"] {
        assert_eq!(run(name, &[]).stdout_alone(), "");
    }
    assert_eq!(run("P_FILE", &["--literal=P_FILE"]).stdout_alone(), "");
    let memfd = format!("--memfd=P_FILE={}", reference(&azure, "pg"));
    let run = exec(&azure, [memfd.as_str(), "/bin/true"]);
    assert_eq!(run.outcome().stdout_alone(), "");
}

//! The search for COMMAND on the caller's PATH, as a shell does it, before any request.

use super::failures::run;
use crate::azure::{Azure, Endpoint};
use crate::support::{akv_init, exec};
use crate::support_scratch::Scratch;

#[test]
fn command_that_is_not_on_path_is_not_found() {
    for (command, path) in [("sqlserver", "/opt/mssql/bin:/bin"), ("", "/bin")] {
        let failure = run(command)
            .env("PATH", path)
            .failure(127, "command not found");
        failure.names(&format!("`{command}`")).hint_names(path);
    }
}

#[test]
fn default_directories_are_searched_without_path() {
    let outcome = akv_init(["exec", "--", "sh", "-c", "echo found"]).outcome();
    assert_eq!(outcome.stdout_alone(), "found\n");
    let failure = run("sqlserver").failure(127, "command not found");
    failure
        .names("sqlserver")
        .hint_names("/usr/local/bin:/bin:/usr/bin");
}

#[test]
fn empty_path_element_is_the_working_directory() {
    let scratch = Scratch::new();
    scratch.file("here", b"#!/bin/sh\necho here\n", 0o755);
    for path in ["", ":/nowhere", "/nowhere::/bin", "/nowhere:"] {
        let run = run("here").env("PATH", path).with(|command| {
            command.current_dir(&scratch.0);
        });
        assert_eq!(run.outcome().stdout_alone(), "here\n", "PATH={path:?}");
    }
}

#[test]
fn search_continues_past_entries_that_cannot_be_executed() {
    let scratch = Scratch::new();
    scratch.directory("a");
    scratch.directory("b");
    scratch.directory("c");
    scratch.directory("a/tool");
    let text = scratch.file("b/tool", b"#!/bin/sh\necho b\n", 0o644);
    scratch.file("c/tool", b"#!/bin/sh\necho c\n", 0o755);
    let path = |directories: &[&str]| {
        let paths: Vec<String> = directories.iter().map(|name| scratch.path(name)).collect();
        paths.join(":")
    };
    let found = run("tool")
        .env("PATH", path(&["absent", "a", "b", "c"]))
        .outcome();
    assert_eq!(found.stdout_alone(), "c\n");
    let not_executable = run("tool").env("PATH", path(&["a", "b"]));
    let failure = not_executable.failure(126, "not executable");
    failure.names(&text).hinted();
    let only_directory = run("tool").env("PATH", path(&["a"]));
    only_directory
        .failure(127, "command not found")
        .names("tool");
}

#[test]
fn path_of_the_caller_is_searched_even_if_unset_for_command() {
    let scratch = Scratch::new();
    scratch.file(
        "tool",
        b"#!/bin/sh\necho \"${PATH-unset}\" | /bin/cat\n",
        0o755,
    );
    let outcome = akv_init(["exec", "--unset", "PATH", "tool"]).env("PATH", scratch.path(""));
    let outcome = outcome.outcome();
    // The shell's own default may stand there, ours may not.
    assert!(
        !outcome.stdout_alone().contains(&scratch.path("")),
        "{outcome:?}"
    );
}

#[test]
fn command_with_a_slash_is_a_path() {
    let scratch = Scratch::new();
    scratch.directory("bin");
    scratch.file("bin/tool", b"#!/bin/sh\necho \"$0\"\n", 0o755);
    for command in ["bin/tool", "./bin/tool", "bin/../bin/tool"] {
        let run = run(command).env("PATH", "/bin").with(|command| {
            command.current_dir(&scratch.0);
        });
        assert_eq!(run.outcome().stdout_alone(), format!("{command}\n"));
    }
    let absent = scratch.path("absent");
    // A manifest's list of words that became one string.
    for command in [&absent, "sh -c true", &format!("{absent} -v")] {
        let failure = run(command).failure(127, "command not found");
        failure.names(command).hinted();
    }
}

#[test]
fn command_that_cannot_be_executed_costs_no_request() {
    let azure = Azure::start();
    let scratch = Scratch::new();
    let secret = format!("S=akv://{}/sa", azure.vault());
    let text = scratch.file("text", b"", 0o644);
    let commands = [
        ("absent", 127),
        ("/absent/tool", 127),
        ("/", 126),
        (&text, 126),
    ];
    for (command, code) in commands {
        let outcome = exec(&azure, ["--secret", &secret, "--", command]).outcome();
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
    }
    for endpoint in Endpoint::ALL {
        assert_eq!(azure.connections(endpoint), 0, "{endpoint:?}");
    }
}

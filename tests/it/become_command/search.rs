//! The search for COMMAND: a shell's, on the caller's PATH, before anything is asked of anyone.

use super::failures::{Scratch, run};
use crate::azure::{Azure, Door};
use crate::support::{IN_IMAGE, akv_init, exec};

#[test]
fn a_command_that_is_not_on_path_is_127() {
    run("sqlserver").env("PATH", "/opt/mssql/bin:/bin").outcome().failed(
        127,
        &[
            "error: COMMAND `sqlserver`: not found on PATH",
            "hint: PATH is /opt/mssql/bin:/bin; an image without a shell needs the program's full path",
        ],
    );
    run("").env("PATH", "/bin").outcome().failed(
        127,
        &[
            "error: COMMAND ``: not found on PATH",
            "hint: PATH is /bin; an image without a shell needs the program's full path",
        ],
    );
}

#[test]
fn without_path_the_usual_directories_are_searched() {
    let outcome = akv_init(["exec", "--", "sh", "-c", "echo found"]).outcome();
    assert_eq!(outcome.stdout_alone(), "found\n");
    run("sqlserver").outcome().failed(
        127,
        &[
            "error: COMMAND `sqlserver`: not found on PATH",
            "hint: PATH is not set, so only /usr/local/bin:/bin:/usr/bin was searched; give the program's full path",
        ],
    );
}

#[test]
fn an_empty_element_of_path_is_the_working_directory() {
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
fn the_search_goes_on_past_what_cannot_be_executed() {
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
    run("tool").env("PATH", path(&["a", "b"])).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{text}`: cannot be executed: Permission denied"),
            "hint: it has no execute permission: COPY --chmod=0755 it, or chmod +x in the image",
        ],
    );
    let only_directory = run("tool").env("PATH", path(&["a"])).outcome();
    assert_eq!(
        only_directory.error(),
        Some("COMMAND `tool`: not found on PATH")
    );
    assert_eq!(only_directory.code, Some(127));
}

#[test]
fn the_callers_path_is_searched_whatever_the_command_gets() {
    let scratch = Scratch::new();
    scratch.file(
        "tool",
        b"#!/bin/sh\necho \"${PATH-unset}\" | /bin/cat\n",
        0o755,
    );
    let outcome = akv_init(["exec", "--unset", "PATH", "tool"]).env("PATH", scratch.path(""));
    let said = outcome.outcome();
    // The shell's own default may stand there, ours may not.
    assert!(!said.stdout_alone().contains(&scratch.path("")), "{said:?}");
}

#[test]
fn a_name_with_a_slash_is_a_path() {
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
    run(&absent).outcome().failed(
        127,
        &[&format!("error: COMMAND `{absent}`: not found"), IN_IMAGE],
    );
    // As a manifest has it where its list is one string.
    let blanks =
        "hint: it has blanks in it: give each word by itself, there is no shell to split them";
    run("sh -c true").outcome().failed(
        127,
        &["error: COMMAND `sh -c true`: not found on PATH", blanks],
    );
    let absent = format!("{absent} -v");
    run(&absent).outcome().failed(
        127,
        &[&format!("error: COMMAND `{absent}`: not found"), blanks],
    );
}

#[test]
fn a_command_that_cannot_be_had_costs_no_request() {
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
    for door in Door::ALL {
        assert_eq!(azure.connections(door), 0, "{door:?}");
    }
}

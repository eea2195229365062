//! COMMAND and its environment.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::resource::Resource;

use super::book::Page;
use crate::azure::{Azure, Stored};
use crate::exec_process::failures::{dynamic_elf, run};
use crate::support::{Outcome, Run, akv_init, exec};
use crate::support_inherited as inherited;
use crate::support_scratch::Scratch;

pub fn command(page: &mut Page) {
    let scratch = Scratch::new();
    page.replace(&scratch.path("")[..scratch.path("").len() - 1], "/app");
    let circle = scratch.path("circle");
    symlink("circle", &circle).expect("it is new");
    page.run(akv_init(["exec", "--verbose", "/bin/true"]));
    page.run(run("server"));
    page.run(run("server").env("PATH", "/usr/bin:/bin"));
    page.run(run("/app/server"));
    page.run(run("sh -c true"));
    page.run(run(&scratch.directory("directory")));
    page.run(run(&circle));
    page.run(run(&scratch.file("no-permission", b"#!/bin/sh\n", 0o644)));
    let path = scratch.file("not-for-us", b"#!/bin/sh\n", 0o611);
    page.run(run(&path).with(inherited::obey_permissions));
    page.run(run(&scratch.file("script", b"echo\n", 0o755)));
    page.run(run(&scratch.file("empty", b"", 0o755)));
    page.run(run(&scratch.file(
        "of-python",
        b"#!/absent/python3\n",
        0o755,
    )));
    let marked = "\u{feff}#!/bin/sh\n".as_bytes();
    page.run(run(&scratch.file("of-an-editor", marked, 0o755)));
    let line = format!("#!{}\n", scratch.path("no-permission"));
    page.run(run(&scratch.file(
        "of-no-permission",
        line.as_bytes(),
        0o755,
    )));
    let busy = scratch.file("busy", b"#!/bin/sh\n", 0o755);
    let writer = OpenOptions::new().append(true).open(&busy).expect("ours");
    page.run(run(&busy));
    drop(writer);
    page.run(run(&scratch.file("of-windows", b"#!/bin/sh\r\n", 0o755)));
    page.run(run(&scratch.file("of-glibc", &dynamic_elf(None), 0o755)));
    page.run(run(&scratch.file(
        "of-another-machine",
        &dynamic_elf(Some(0xfeed)),
        0o755,
    )));
    let line = format!("#!/{}bin/sh\n", "./".repeat(118));
    page.record(&with_no_room(&scratch.file("long", line.as_bytes(), 0o755)));
    let program = fs::read("/proc/self/exe").expect("this program can read itself");
    let path = scratch.file("server", &program[..4_096], 0o755);
    // The second one is MKNOD.
    for number in [inherited::NET_BIND_SERVICE, 27] {
        let prepare =
            |command: &mut Command| inherited::drop_the_capability_of(command, &path, number);
        page.run(run(&path).with(prepare));
    }
}

/// A script with a long first line, which needs a little more space than akv-init had.
fn with_no_room(path: &str) -> Outcome {
    let mut outcome = None;
    for length in (130_000..131_000).rev().step_by(100) {
        let run = run(path).env("LONG", "x".repeat(length)).with(small_stack);
        drop(run.with(|command| outcome = command.output().ok()));
        if outcome.is_some() {
            break;
        }
    }
    outcome.map(Outcome::from).expect("there is room for less")
}

fn small_stack(command: &mut Command) {
    inherited::limit(command, Resource::RLIMIT_STACK, 400 << 10, 1 << 30);
}

/// The variables of COMMAND.
pub fn supervised(page: &mut Page) {
    // In /proc/PID/stat the name is in parentheses and followed by a blank and the state.
    let scratch = Scratch::new();
    let name = scratch.path("1) S 1 sleep");
    symlink("/bin/sleep", &name).expect("it is new");
    let stubborn = format!("trap '' TERM; '{name}' 60 & exit 3");
    page.run(
        akv_init([
            "exec",
            "--init",
            "--drain=1",
            "--",
            "/bin/sh",
            "-c",
            &stubborn,
        ])
        .env("PATH", "/bin:/usr/bin"),
    );
}

pub fn values(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let run = |value: &str| -> Run {
        azure.secret("sql-sa", value);
        let reference = format!("akv://{}/sql-sa", azure.vault());
        exec(&azure, ["/bin/true"]).env("DB_PASSWORD", reference)
    };
    page.run(run("hunter2\n"));
    page.run(run("\u{feff}hunter2"));
    page.run(run(r"-----BEGIN KEY-----\nAA==\n-----END KEY-----"));
    page.run(run("hunter\0"));
    page.run(run(&"x".repeat(131_072)));
    let large = run(&"x".repeat(100_000)).env("OTHER", "x".repeat(40_000));
    page.run(large.with(small_stack));
    let dated = |not_before, expires| Stored {
        not_before,
        expires,
        ..Stored::new("sql-sa", "hunter2")
    };
    for stored in [
        dated(None, Some(951_827_696)),
        dated(Some(4_102_444_799), None),
    ] {
        let run = run("hunter2");
        azure.put(stored);
        page.run(run);
    }
}

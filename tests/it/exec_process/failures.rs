//! COMMAND cannot be found or executed: exit codes 127 and 126, as a shell has them, each with a hint.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::azure::{Azure, Endpoint};
use crate::support::{Run, akv_init, exec};
use crate::support_inherited as inherited;
use crate::support_scratch::Scratch;

pub fn run(command: &str) -> Run {
    akv_init(["exec", "--", command])
}

/// The start of an ELF file whose interpreter does not exist.
pub fn dynamic_elf(machine: Option<u16>) -> Vec<u8> {
    const INTERPRETER: &[u8] = b"/absent/ld.so\0";
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    let mut elf = fs::read("/proc/self/exe").expect("this program can read itself");
    elf.truncate(HEADER);
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    if let Some(machine) = machine {
        put(18, &machine.to_ne_bytes());
    }
    // e_phoff, e_shoff, e_phnum, e_shnum: one program header behind this one, and no section.
    put(32, &(HEADER as u64).to_ne_bytes());
    put(40, &0_u64.to_ne_bytes());
    put(56, &1_u16.to_ne_bytes());
    put(60, &0_u16.to_ne_bytes());
    let at = (HEADER + SEGMENT) as u64;
    let size = INTERPRETER.len() as u64;
    // PT_INTERP, readable; then offset, both addresses, both sizes, alignment.
    elf.extend(3_u32.to_ne_bytes());
    elf.extend(4_u32.to_ne_bytes());
    for word in [at, at, at, size, size, 1] {
        elf.extend(word.to_ne_bytes());
    }
    elf.extend(INTERPRETER);
    elf
}

/// Runs a file with this content and mode, which cannot be executed. The hint names each of `named`.
#[track_caller]
fn cannot_execute(content: &[u8], mode: u32, (code, cause): (i32, &str), named: &[&str]) {
    let scratch = Scratch::new();
    let path = scratch.file("tool", content, mode);
    let failure = run(&path).failure(code, cause);
    failure.names(&path).hinted();
    for name in named {
        failure.hint_names(name);
    }
}

const NOT_EXECUTABLE: (i32, &str) = (126, "not executable");
const NOT_FOUND: (i32, &str) = (127, "command not found");

#[test]
fn directory_is_not_executable() {
    let scratch = Scratch::new();
    let path = scratch.directory("tool");
    run(&path).failure(126, "not executable").names(&path);
}

#[test]
fn path_that_does_not_resolve_is_not_found() {
    let scratch = Scratch::new();
    let file = scratch.file("file", b"#!/bin/sh\n", 0o755);
    let below_file = format!("{file}/tool");
    let dangling = scratch.path("dangling");
    symlink("absent", &dangling).expect("it is new");
    for path in [&below_file, &dangling] {
        let failure = run(path).failure(127, "command not found");
        failure.names(path).hinted();
    }
}

#[test]
fn path_that_cannot_be_resolved_is_not_executable() {
    let scratch = Scratch::new();
    let circle = scratch.path("circle");
    symlink("circle", &circle).expect("it is new");
    let too_long = format!("/{}", "a".repeat(300));
    for path in [&circle, &too_long] {
        run(path).failure(126, "not executable").names(path);
    }
}

#[test]
fn file_without_execute_permission_is_not_executable() {
    cannot_execute(b"#!/bin/sh\n", 0o644, NOT_EXECUTABLE, &[]);
}

#[test]
fn file_that_only_others_may_execute_is_not_executable() {
    let scratch = Scratch::new();
    let path = scratch.file("tool", b"#!/bin/sh\n", 0o611);
    let run = run(&path).with(inherited::obey_permissions);
    run.failure(126, "not executable").names(&path).hinted();
}

#[test]
fn script_without_interpreter_line_is_not_executable() {
    cannot_execute(b"echo no shell\n", 0o755, NOT_EXECUTABLE, &["/tool"]);
    cannot_execute(b"", 0o755, NOT_EXECUTABLE, &[]);
}

#[test]
fn script_with_missing_interpreter_is_not_found() {
    let python = b"#! /absent/python3 -u\nprint(1)\n";
    cannot_execute(python, 0o755, NOT_FOUND, &["/absent/python3 -u"]);
    // The carriage return is part of the interpreter's name.
    cannot_execute(b"#!/bin/sh\r\necho\r\n", 0o755, NOT_FOUND, &["/bin/sh"]);
}

/// `exec`, before any request, and `check` end with the same code, and name the file at fault.
#[test]
fn file_that_command_needs_is_named() {
    let scratch = Scratch::new();
    let directory = scratch.directory("directory");
    let pipe = scratch.path("pipe");
    mkfifo(Path::new(&pipe), Mode::S_IRWXU).expect("it is new");
    let file = |name, content: &str, mode| scratch.file(name, content.as_bytes(), mode);
    let program = fs::read("/bin/true").expect("it can be read");
    let busy = scratch.file("busy", &program, 0o755);
    let _writer = OpenOptions::new().append(true).open(&busy).expect("ours");
    let private = file("private", "#!/bin/sh\n", 0o644);
    let marked = file("marked", "\u{feff}#!/bin/sh\n", 0o755);
    let nested = file("nested", "#!/absent/sh\n", 0o755);
    let nameless = file("nameless", "#! \t\n", 0o755);
    let circle = file("circle", &format!("#!{}\n", scratch.path("circle")), 0o755);
    let loader = scratch.file("of-glibc", &dynamic_elf(None), 0o755);
    let below_file = format!("{private}/sh");
    let azure = Azure::start();
    let secret = format!("S=akv://{}/sa", azure.vault());
    // An interpreter, the file at fault, what the hint names, the code, and whether only the kernel can be certain.
    for (interpreter, fault, hint, code, is_late) in [
        ("/absent/sh", "/absent/sh", "first line of `", 127, false),
        (&below_file, &below_file, "first line of `", 127, false),
        (&private, &private, "chmod", 126, false),
        (&directory, &directory, "", 126, false),
        (&pipe, &pipe, "", 126, false),
        (&circle, "script", "", 126, false),
        (&loader, "/absent/ld.so", &loader, 127, false),
        (&nested, "/absent/sh", &nested, 127, false),
        (&marked, &marked, "byte order mark", 126, true),
        (&nameless, &nameless, "#!/bin/sh", 126, true),
        (&busy, &busy, "", 126, true),
    ] {
        let script = file("script", &format!("#!{interpreter} -u\n"), 0o755);
        let mut commands = vec![&script];
        // As COMMAND itself, too.
        commands.extend(
            [&private, &pipe, &marked, &nameless, &busy]
                .into_iter()
                .filter(|file| *file == fault),
        );
        for command in commands {
            let words = ["--secret", &secret, "--timeout=0", "--", command];
            azure.secret("sa", "s3cret");
            let before = azure.requests_at(Endpoint::Vault).len();
            let cause = ["not executable", "command not found"][code as usize - 126];
            let failure = exec(&azure, words).failure(code, cause);
            failure.names(command).names(fault).hint_names(hint);
            let requests = azure.requests_at(Endpoint::Vault).len() - before;
            assert_eq!(requests > 0, is_late, "{fault}");
            let outcome = akv_init(["check", "--format=json", "--", command]).outcome();
            assert_eq!(outcome.code, Some(code), "{outcome:?}");
            let report = outcome.stdout;
            assert!(report.contains(fault) && report.contains(hint), "{report}");
        }
    }
}

/// As many scripts as the kernel follows, the last one for a program with a loader, and one more.
#[test]
fn script_that_is_an_interpreter_is_executable() {
    let scratch = Scratch::new();
    let mut path = "/bin/sh".to_owned();
    for index in 1..=6 {
        let content = format!("#!{path}\n");
        path = scratch.file(&format!("script-{index}"), content.as_bytes(), 0o755);
        let code = if index <= 5 { 0 } else { 126 };
        for verb in ["check", "exec"] {
            let outcome = akv_init([verb, "--", &path]).outcome();
            assert_eq!(outcome.code, Some(code), "{outcome:?}");
        }
    }
}

#[test]
fn program_with_missing_loader_is_not_found() {
    cannot_execute(&dynamic_elf(None), 0o755, NOT_FOUND, &[]);
}

#[test]
fn program_for_another_architecture_is_not_executable() {
    // No machine has this number, so no emulator is registered for it.
    cannot_execute(&dynamic_elf(Some(0xfeed)), 0o755, NOT_EXECUTABLE, &[]);
}

#[test]
fn file_capability_outside_the_bounding_set_is_named() {
    inherited::need_namespaces(&["--user", "--map-root-user"]);
    let scratch = Scratch::new();
    let program = fs::read("/proc/self/exe").expect("this program can read itself");
    let path = scratch.file("tool", &program[..4096], 0o755);
    let number = inherited::NET_BIND_SERVICE;
    let prepare = |command: &mut Command| inherited::drop_the_capability_of(command, &path, number);
    let failure = run(&path).with(prepare).failure(126, "not executable");
    failure.names(&path).hint_names("NET_BIND_SERVICE");
}

#[test]
fn failure_of_execve_is_reported_after_the_fetch() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let scratch = Scratch::new();
    let path = scratch.file("empty", b"", 0o755);
    let secret = format!("S=akv://{}/sa", azure.vault());
    let run = exec(&azure, ["--secret", &secret, "--", &path]);
    run.failure(126, "not executable").names(&path).hinted();
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
}

//! 126 and 127 as a shell has them, each with what to do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::inherited;
use crate::azure::{Azure, Door};
use crate::support::{IN_IMAGE, Run, akv_init, exec};

/// A directory for one test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "become-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target directory is writable");
        Scratch(path)
    }

    /// A file with this content and mode.
    ///
    /// Another process writes it: a child that another test forks meanwhile would have the file open for writing until
    /// its own exec, and a file that is being written cannot be executed (ETXTBSY).
    pub fn file(&self, name: &str, content: &[u8], mode: u32) -> String {
        let path = self.path(name);
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat >\"$0\"", &path])
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut stdin = writer.stdin.take().expect("it is a pipe");
        stdin.write_all(content).expect("the shell reads it");
        drop(stdin);
        assert!(writer.wait().expect("it ends").success());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    pub fn directory(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir(&path).expect("it is new");
        path
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str()
            .expect("the target directory is UTF-8")
            .to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn run(command: &str) -> Run {
    akv_init(["exec", "--", command])
}

/// The head of a program that this machine would run if its interpreter were there.
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

#[test]
fn a_directory_is_126() {
    let scratch = Scratch::new();
    let path = scratch.directory("tool");
    run(&path)
        .outcome()
        .failed(126, &[&format!("error: COMMAND `{path}`: is a directory")]);
}

#[test]
fn a_path_that_leads_nowhere_is_127_and_one_without_an_end_is_126() {
    let scratch = Scratch::new();
    let file = scratch.file("file", b"#!/bin/sh\n", 0o755);
    run(&format!("{file}/tool")).outcome().failed(
        127,
        &[
            &format!("error: COMMAND `{file}/tool`: not found"),
            IN_IMAGE,
        ],
    );
    let dangling = scratch.path("dangling");
    symlink("absent", &dangling).expect("it is new");
    run(&dangling).outcome().failed(
        127,
        &[&format!("error: COMMAND `{dangling}`: not found"), IN_IMAGE],
    );
    let circle = scratch.path("circle");
    symlink("circle", &circle).expect("it is new");
    let why = "cannot be executed: Too many symbolic links encountered";
    run(&circle)
        .outcome()
        .failed(126, &[&format!("error: COMMAND `{circle}`: {why}")]);
    let long = format!("/{}", "a".repeat(300));
    let why = "cannot be executed: File name too long";
    run(&long)
        .outcome()
        .failed(126, &[&format!("error: COMMAND `{long}`: {why}")]);
}

#[test]
fn a_file_without_execute_permission_is_126() {
    let scratch = Scratch::new();
    let path = scratch.file("tool", b"#!/bin/sh\n", 0o644);
    run(&path).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{path}`: cannot be executed: Permission denied"),
            "hint: it has no execute permission: COPY --chmod=0755 it, or chmod +x in the image",
        ],
    );
}

#[test]
fn a_file_that_others_may_execute_is_126() {
    let scratch = Scratch::new();
    let path = scratch.file("tool", b"#!/bin/sh\n", 0o611);
    run(&path).with(inherited::obey_permissions).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{path}`: cannot be executed: Permission denied"),
            "hint: this user may not execute it or enter its directory, or its file system is mounted noexec",
        ],
    );
}

#[test]
fn a_script_without_its_first_line_is_126() {
    let scratch = Scratch::new();
    let path = scratch.file("tool.sh", b"echo no shell was named\n", 0o755);
    run(&path).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{path}`: cannot be executed: Exec format error"),
            &format!(
                "hint: a script needs a first line such as `#!/bin/sh`; or start it with its shell: \
                 akv-init exec -- /bin/sh {path}"
            ),
        ],
    );
    let empty = scratch.file("empty", b"", 0o755);
    run(&empty).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{empty}`: cannot be executed: Exec format error"),
            "hint: the file is empty",
        ],
    );
}

#[test]
fn a_script_whose_interpreter_is_missing_is_127() {
    let scratch = Scratch::new();
    let path = scratch.file("tool", b"#! /absent/python3 -u\nprint(1)\n", 0o755);
    run(&path).outcome().failed(
        127,
        &[
            &format!("error: COMMAND `{path}`: its interpreter or dynamic loader is not found"),
            "hint: its first line names `/absent/python3 -u`, which is not in this image",
        ],
    );
    let windows = scratch.file("windows", b"#!/bin/sh\r\necho\r\n", 0o755);
    run(&windows).outcome().failed(
        127,
        &[
            &format!("error: COMMAND `{windows}`: its interpreter or dynamic loader is not found"),
            "hint: its first line ends in a carriage return, which the kernel takes for a part of the name `/bin/sh`: \
             give the file Unix line ends",
        ],
    );
}

#[test]
fn a_program_whose_loader_is_missing_is_127() {
    let scratch = Scratch::new();
    let path = scratch.file("tool", &dynamic_elf(None), 0o755);
    run(&path).outcome().failed(
        127,
        &[
            &format!("error: COMMAND `{path}`: its interpreter or dynamic loader is not found"),
            "hint: it is linked dynamically and its loader is not in this image: \
             a program for glibc in a musl or scratch image?",
        ],
    );
}

#[test]
fn a_program_for_another_machine_is_126() {
    let scratch = Scratch::new();
    // A number that no machine has, so that no emulator is registered for it.
    let path = scratch.file("tool", &dynamic_elf(Some(0xfeed)), 0o755);
    run(&path).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{path}`: cannot be executed: Exec format error"),
            "hint: it is a program for another kind of machine: build the image for this node's architecture",
        ],
    );
}

#[test]
fn a_capability_that_the_container_may_not_have_is_126() {
    inherited::need_namespaces(&["--user", "--map-root-user"]);
    let scratch = Scratch::new();
    let program = fs::read("/proc/self/exe").expect("this program can read itself");
    let path = scratch.file("tool", &program[..4096], 0o755);
    let number = inherited::NET_BIND_SERVICE;
    let prepare = |command: &mut Command| inherited::drop_the_capability_of(command, &path, number);
    run(&path).with(prepare).outcome().failed(
        126,
        &[
            &format!("error: COMMAND `{path}`: cannot be executed: Operation not permitted"),
            "hint: the file has a capability that this container may not have: NET_BIND_SERVICE; add it: \
             securityContext.capabilities.add: [NET_BIND_SERVICE], or --cap-add NET_BIND_SERVICE",
        ],
    );
}

#[test]
fn what_only_the_kernel_finds_out_is_said_after_the_fetch() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let scratch = Scratch::new();
    let path = scratch.file("empty", b"", 0o755);
    let secret = format!("S=akv://{}/sa", azure.vault());
    exec(&azure, ["--secret", &secret, "--", &path])
        .outcome()
        .failed(
            126,
            &[
                &format!("error: COMMAND `{path}`: cannot be executed: Exec format error"),
                "hint: the file is empty",
            ],
        );
    assert_eq!(azure.requests_at(Door::Vault).len(), 1);
}

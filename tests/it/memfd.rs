//! `exec --memfd`: COMMAND inherits a file in memory that holds the secret, and a variable with its path.

mod option;
mod refusals;
mod together;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use crate::azure::{Azure, Endpoint};
use crate::support::{Run, exec};
use crate::support_inherited as inherited;

const VALUE: &str = "pa$$w0rd of sa";

/// A fake Azure with one secret, `alpha`.
fn one_secret() -> Azure {
    let azure = Azure::start();
    azure.secret("alpha", VALUE);
    azure
}

/// A run with these words; the default vault is the fake Azure's.
fn run(azure: &Azure, words: &[&str]) -> Run {
    exec(azure, words).env("AKV_INIT_VAULT", azure.vault())
}

/// What a script prints whose variable A is the path of the secret `alpha`.
#[track_caller]
fn script(azure: &Azure, text: &str) -> String {
    let words = ["--memfd", "A=alpha", "--", "/bin/sh", "-c", text];
    run(azure, &words).outcome().stdout_alone().to_owned()
}

/// The descriptor of a path.
#[track_caller]
fn descriptor(path: &str) -> u32 {
    let number = path.trim_end().strip_prefix("/proc/self/fd/");
    let number = number.unwrap_or_else(|| panic!("`{path}`"));
    number.parse().expect("a number")
}

#[test]
fn variable_is_the_path_of_a_file_with_the_secret() {
    let azure = one_secret();
    azure.secret("beta", "second");
    let words = [
        "--memfd",
        "A_FILE=alpha",
        "--memfd",
        "B_FILE=beta",
        "--memfd",
        "C_FILE=alpha",
        "--",
        "/bin/sh",
        "-c",
        "echo $A_FILE; echo $B_FILE; echo $C_FILE; cat $A_FILE $B_FILE $C_FILE",
    ];
    let outcome = run(&azure, &words).outcome();
    let lines: Vec<&str> = outcome.stdout_alone().lines().collect();
    let mut numbers: Vec<u32> = lines[..3].iter().map(|path| descriptor(path)).collect();
    assert_eq!(lines[3..], [format!("{VALUE}second{VALUE}")]);
    assert!(numbers.iter().all(|number| *number >= 100), "{numbers:?}");
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 2);
}

#[test]
fn content_is_exactly_the_secret() {
    let azure = Azure::start();
    let large = "0123456789abcdef".repeat(10_000);
    let values = [
        "pa$$w0rd",
        "with a line end\n",
        "\r\n\n",
        "",
        "two\nlines",
        "NUL \0, which no variable holds",
        "pässwörd🔑\u{2028}",
        "akv://kv1/other",
        &large,
    ];
    for value in values {
        azure.secret("alpha", value);
        assert_eq!(script(&azure, "cat $A"), value);
    }
    azure.secret("alpha", "\nvalue \r\n\n");
    let words = [
        "--memfd",
        "A=akv:///alpha?trim",
        "--",
        "/bin/sh",
        "-c",
        "cat $A",
    ];
    assert_eq!(run(&azure, &words).outcome().stdout_alone(), "\nvalue ");
}

/// 0400 is for ssh, which refuses a key that others can read.
#[test]
fn mode_is_the_one_that_is_asked_for() {
    let azure = one_secret();
    for (option, variable, expected) in [
        (None, "", "444"),
        (Some("--memfd-mode=0400"), "", "400"),
        (None, "440", "440"),
        (Some("--memfd-mode=0400"), "440", "400"),
    ] {
        let words = [
            option.as_slice(),
            &["--memfd=A=alpha", "--", "/bin/sh", "-c"],
        ]
        .concat();
        let run = run(&azure, &words).args(["stat --dereference --format=%a $A; cat $A"]);
        let outcome = run.env("AKV_INIT_MEMFD_MODE", variable).outcome();
        assert_eq!(outcome.stdout_alone(), format!("{expected}\n{VALUE}"));
    }
}

#[test]
fn file_can_be_read_repeatedly() {
    let azure = one_secret();
    let text = "cat $A; cat $A; cat <$A; head -c 3 $A";
    assert_eq!(script(&azure, text), format!("{VALUE}{VALUE}{VALUE}pa$"));
}

#[test]
fn children_and_the_next_program_inherit_the_file() {
    let azure = one_secret();
    let text = "(cat $A); /bin/sh -c '/bin/cat $A'; x=$(cat $A); echo \"$x\"; exec /bin/sh -c 'exec cat $A'";
    assert_eq!(
        script(&azure, text),
        format!("{VALUE}{VALUE}{VALUE}\n{VALUE}")
    );
}

#[test]
fn descriptors_of_a_script_do_not_collide() {
    let azure = one_secret();
    let opened: String = (3..10)
        .map(|fd| format!("exec {fd}>/dev/null; echo x >&{fd}; "))
        .collect();
    let closed: String = (3..10).map(|fd| format!("exec {fd}>&-; ")).collect();
    assert_eq!(script(&azure, &format!("{opened}{closed}cat $A")), VALUE);
}

#[test]
fn file_is_the_only_additional_descriptor() {
    let azure = one_secret();
    let list = |words: &[&str]| -> BTreeSet<u32> {
        let words = [words, &["--", "/bin/ls", "/proc/self/fd"]].concat();
        let outcome = run(&azure, &words).outcome();
        let numbers = outcome.stdout_alone().lines();
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    // The tests may have inherited others.
    let without = list(&["--secret", "A=alpha"]);
    let with = list(&["--memfd", "A=alpha"]);
    let more: Vec<&u32> = with.difference(&without).collect();
    assert!(matches!(more[..], [number] if *number >= 100), "{more:?}");
    assert!(with.is_superset(&without), "{with:?} {without:?}");
}

#[test]
fn signals_are_unchanged() {
    let azure = one_secret();
    let signals = |target: &str| {
        let words = [target, "A=alpha", "--", "/bin/cat", "/proc/self/status"];
        let outcome = run(&azure, &words).outcome();
        let lines = outcome.stdout_alone().lines();
        let lines = lines.filter(|line| {
            ["SigIgn", "SigBlk", "SigCgt"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let without = signals("--secret");
    assert_eq!(without.len(), 3);
    assert_eq!(signals("--memfd"), without);
}

#[test]
fn descriptors_of_the_caller_are_not_replaced() {
    let azure = one_secret();
    let inherited_file = azure.dir().join("inherited");
    fs::write(&inherited_file, "inherited;").unwrap();
    let words = [
        "--memfd", "A=alpha", "--memfd", "B=alpha", "--", "/bin/sh", "-c",
    ];
    let text = "cat /proc/self/fd/100 /proc/self/fd/102 $A $B; echo; echo $A; echo $B";
    let run = run(&azure, &words).args([text]).with(|command| {
        for number in [100, 102] {
            let file = File::open(&inherited_file).unwrap();
            inherited::pass(command, OwnedFd::from(file), number);
        }
    });
    let outcome = run.outcome();
    let lines: Vec<&str> = outcome.stdout_alone().lines().collect();
    assert_eq!(lines[0], format!("inherited;inherited;{VALUE}{VALUE}"));
    let mut numbers = [descriptor(lines[1]), descriptor(lines[2])];
    numbers.sort();
    assert!(numbers[0] > 100 && !numbers.contains(&102), "{numbers:?}");
    assert_ne!(numbers[0], numbers[1]);
}

/// Neither COMMAND nor another process of the user can change it.
#[test]
fn file_is_sealed_and_the_secret_is_nowhere_else() {
    let azure = one_secret();
    let words = [
        "--memfd",
        "A=alpha",
        "--",
        "/bin/sh",
        "-c",
        "echo $A; read line",
    ];
    let mut running = run(&azure, &words)
        .with(|command| {
            command.stdin(Stdio::piped());
        })
        .spawn();
    let mut stdout = BufReader::new(running.child_mut().stdout.take().unwrap());
    let mut path = String::new();
    stdout.read_line(&mut path).unwrap();
    let process = format!("/proc/{}", running.pid());
    let file = format!("{process}/fd/{}", descriptor(&path));
    assert_eq!(fs::read_to_string(&file).unwrap(), VALUE);
    let target = fs::read_link(&file).unwrap();
    assert_eq!(target.to_str(), Some("/memfd:akv-init (deleted)"));
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (0, 0o444));
    // Some programs duplicate the descriptor for /dev/fd/N instead of opening the file again.
    let about = fs::read_to_string(file.replace("/fd/", "/fdinfo/")).unwrap();
    assert_eq!(about.lines().next(), Some("pos:\t0"));
    // The owner can set write permission, and still cannot write.
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let mut written = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&file)
        .unwrap();
    let all = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    let seals = fcntl(&written, FcntlArg::F_GET_SEALS).unwrap();
    assert_eq!(SealFlag::from_bits_retain(seals), all);
    let refused = |result: std::io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
    };
    refused(written.write_all(b"x"));
    refused(written.set_len(0));
    refused(written.set_len(1 << 20));
    let more = SealFlag::F_SEAL_FUTURE_WRITE;
    assert_eq!(
        fcntl(&written, FcntlArg::F_ADD_SEALS(more)),
        Err(Errno::EPERM)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), VALUE);
    // Other processes of the user can read these.
    let environ = fs::read(format!("{process}/environ")).unwrap();
    let environ = String::from_utf8(environ).unwrap();
    let entry = format!("A={}", path.trim_end());
    assert!(environ.split('\0').any(|found| found == entry), "{environ}");
    for name in ["environ", "cmdline", "maps", "status"] {
        let text = fs::read(format!("{process}/{name}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(VALUE), "{name}");
    }
    running.say("done\n");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(running.outcome().stdout_alone(), "");
}

#[test]
fn command_cannot_write_to_it() {
    let azure = one_secret();
    let text = "chmod 0666 $A; cat /proc/version 2>/dev/null >$A; echo $?; cat $A";
    let outcome = run(&azure, &["--memfd", "A=alpha", "--", "/bin/sh", "-c", text]).outcome();
    assert_ne!(outcome.stdout.lines().next(), Some("0"), "{outcome:?}");
    assert!(outcome.stdout.ends_with(VALUE), "{outcome:?}");
}

//! `akv-init install`: a copy of itself in a volume, from an image that has no `cp`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::azure::{Answer, Azure, Door};
use crate::become_command::inherited;
use crate::support::{Outcome, Run, akv_init, binary};
use crate::support_files::{IN_THE_WAY, IS_A_LINK, MISSING, Place, Plant, change_mode};

/// A run of `install` into this place.
fn install(place: &Place) -> Run {
    akv_init(["install".to_owned(), place.word()])
}

/// The one file that is there, as [`Place::names`] has it.
const INSTALLED: [&str; 1] = ["akv-init 0755"];

/// The copy prints its version.
#[track_caller]
fn runs(place: &Place) {
    let output = Command::new(place.path("akv-init"))
        .arg("--version")
        .env_clear()
        .output();
    let outcome = Outcome::from(output.expect("the copy can be started"));
    let version = concat!("akv-init ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(outcome.stdout_alone(), version);
}

#[track_caller]
fn is_a_copy(place: &Place) {
    let own = fs::read(binary()).unwrap();
    // Not assert_eq: it would print both.
    assert!(place.read("akv-init") == own, "the copy differs");
}

#[test]
fn it_puts_a_copy_of_itself_there_and_says_nothing() {
    let place = Place::new();
    // Nothing is needed of the environment, and nobody's settings are looked at. Everybody may run it.
    let run = install(&place)
        .env("AKV_INIT_TIMEOUT", "soon")
        .env("A", "see akv://kv1/name")
        .with(|command| inherited::mask_files(command, 0o177));
    assert_eq!(run.outcome().stdout_alone(), "");
    is_a_copy(&place);
    runs(&place);
    assert_eq!(place.names(), INSTALLED);
    // Once more, as a restart of the pod does: it stays the same file.
    let before = place.snapshot();
    for words in [
        &["install"][..],
        &["install", "--verbose"],
        &["install", "-v", "--"],
    ] {
        let run = akv_init(words).args([place.dir()]);
        assert_eq!(run.outcome().code, Some(0));
        assert!(place.snapshot() == before, "{words:?}");
    }
    // It may stand anywhere under any name, and be gone from there: what is copied is what runs.
    fs::rename(place.path("akv-init"), place.path("other")).unwrap();
    let mut other = Command::new(place.path("other"));
    let output = other.args(["install", &place.word()]).env_clear().output();
    assert_eq!(Outcome::from(output.unwrap()).stdout_alone(), "");
    is_a_copy(&place);
    assert_eq!(place.names(), ["akv-init 0755", "other 0755"]);
}

#[test]
fn what_is_not_a_whole_copy_is_replaced() {
    let place = Place::new();
    place.plant("akv-init", Plant::File);
    let run = install(&place).with(|command| inherited::mask_files(command, 0o000));
    assert_eq!(run.outcome().stdout_alone(), "");
    is_a_copy(&place);
    assert_eq!(place.names(), INSTALLED);
    // Less than everybody may run it, and a part of it is missing.
    let path = place.path("akv-init");
    change_mode(&path, 0o700);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1_000).unwrap();
    drop(file);
    assert_eq!(install(&place).outcome().stdout_alone(), "");
    is_a_copy(&place);
    assert_eq!(place.names(), INSTALLED);
}

/// A file that runs cannot be written to (ETXTBSY), but another one can take its place.
#[test]
fn an_older_one_is_replaced_while_it_runs() {
    let place = Place::new();
    // Not by this process: others are forked from it at any time, and while one of them has the file open for writing,
    // it cannot be started.
    let shell = |script: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).stderr(Stdio::null());
        shell.arg(place.path("akv-init")).arg(binary());
        shell.status().expect("a shell").success()
    };
    let older = "printf older >>\"$1\"";
    assert!(shell(&format!("cp \"$2\" \"$1\" && {older}")));
    let azure = Azure::start();
    azure.secret("alpha", "first");
    azure.next(Door::Imds, Answer::usual().hold());
    let mut command = Command::new(place.path("akv-init"));
    command
        .args([
            "exec",
            "--secret",
            &format!("S=akv://{}/alpha", azure.vault()),
            "--",
            "printenv",
            "S",
        ])
        .env_clear()
        .env("PATH", "/bin:/usr/bin")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("AKV_INIT_TIMEOUT", "30")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = command.spawn().expect("the copy can be started");
    azure.wait_for(Door::Imds, 1);
    assert!(!shell(older), "a file that runs was written to");
    let before = place.inode("akv-init");
    assert_eq!(install(&place).outcome().stdout_alone(), "");
    assert_ne!(place.inode("akv-init"), before);
    assert_eq!(place.names(), INSTALLED);
    is_a_copy(&place);
    azure.release();
    let outcome = Outcome::from(running.wait_with_output().unwrap());
    assert_eq!(outcome.stdout_alone(), "first\n");
}

#[test]
fn what_is_in_the_way_is_refused_and_left_alone() {
    for (plant, why) in [
        (Plant::Directory, "it is a directory"),
        (Plant::Link, "it is a symbolic link"),
        (Plant::Pipe, "it is neither a file nor a directory"),
    ] {
        let place = Place::new();
        place.plant("akv-init", plant);
        let before = place.snapshot();
        let path = place.path("akv-init");
        let error = format!("error: cannot write `{}`: {why}", path.display());
        install(&place).outcome().failed(73, &[&error, IN_THE_WAY]);
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn dir_has_to_be_a_directory() {
    let place = Place::new();
    symlink("volume", place.beside("link")).unwrap();
    fs::write(place.beside("file"), "").unwrap();
    let before = place.snapshot();
    for (name, lines) in [
        ("missing", &MISSING[..]),
        ("file", &["it is not a directory"]),
        ("link", &IS_A_LINK),
    ] {
        let path = place.beside(name).display().to_string();
        let error = format!("error: cannot write `{path}`: {}", lines[0]);
        let lines = [&[error.as_str()], &lines[1..]].concat();
        for word in [path.clone(), format!("{path}/")] {
            akv_init(["install", &word]).outcome().failed(73, &lines);
        }
    }
    assert_eq!(place.snapshot(), before);
}

#[test]
fn a_directory_that_cannot_be_written_is_said_to_be_one() {
    let place = Place::new();
    change_mode(&place.dir(), 0o555);
    let outcome = install(&place).with(inherited::obey_permissions).outcome();
    let error = format!("cannot write `{}`: Permission denied", place.word());
    assert_eq!(
        (outcome.code, outcome.error()),
        (Some(73), Some(error.as_str()))
    );
    assert!(outcome.hint().is_some(), "{}", outcome.stderr);
    assert_eq!(place.tree(), [""; 0]);
}

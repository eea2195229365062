//! `akv-init install`: a copy of itself in a volume, from an image that has no `cp`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use nix::libc;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{NO_OPTIONS, Outcome, Run, akv_init, binary};
use crate::support_files::{Place, Plant, change_mode};
use crate::support_inherited as inherited;
use crate::support_namespaces::cover;

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
    let version = akv_init(["--version"]).outcome().stdout;
    assert_eq!(outcome.stdout_alone(), version);
}

#[track_caller]
fn is_a_copy(place: &Place) {
    let own = fs::read(binary()).unwrap();
    // Not assert_eq: it would print both.
    assert!(place.read("akv-init") == own, "the copy differs");
}

#[test]
fn install_writes_a_copy_of_itself() {
    let place = Place::new();
    // Settings are not read, and the umask does not apply.
    let run = install(&place)
        .env("AKV_INIT_TIMEOUT", "soon")
        .env("A", "see akv://kv1/name")
        .with(|command| inherited::mask_files(command, 0o177));
    assert_eq!(run.outcome().stdout_alone(), "");
    is_a_copy(&place);
    runs(&place);
    assert_eq!(place.names(), INSTALLED);
    // Once more, as a restart of the pod does: the file is not touched.
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
    // The running program is copied, whatever its path.
    fs::rename(place.path("akv-init"), place.path("other")).unwrap();
    let mut other = Command::new(place.path("other"));
    let output = other.args(["install", &place.word()]).env_clear().output();
    assert_eq!(Outcome::from(output.unwrap()).stdout_alone(), "");
    is_a_copy(&place);
    assert_eq!(place.names(), ["akv-init 0755", "other 0755"]);
}

#[test]
fn incomplete_copy_is_replaced() {
    let place = Place::new();
    place.plant("akv-init", Plant::File);
    let run = install(&place).with(|command| inherited::mask_files(command, 0o000));
    assert_eq!(run.outcome().stdout_alone(), "");
    is_a_copy(&place);
    assert_eq!(place.names(), INSTALLED);
    // Without the permissions, and truncated.
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
fn older_version_is_replaced_while_it_runs() {
    let place = Place::new();
    // Another process writes it: a child that another test forks meanwhile would have the file open for writing until
    // its own exec, and a file that is being written cannot be executed (ETXTBSY).
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
    azure.next(Endpoint::Imds, Response::usual().hold());
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
    azure.wait_for(Endpoint::Imds, 1);
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
fn target_that_is_not_a_file_is_refused_and_left_alone() {
    for plant in [Plant::Directory, Plant::Link, Plant::Pipe] {
        let place = Place::new();
        place.plant("akv-init", plant);
        let before = place.snapshot();
        let path = place.path("akv-init");
        let failure = install(&place).failure(73, "cannot create");
        failure.names(&format!("`{}`", path.display())).hinted();
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn dir_must_be_a_directory() {
    let place = Place::new();
    symlink("volume", place.beside("link")).unwrap();
    fs::write(place.beside("file"), "").unwrap();
    let before = place.snapshot();
    for name in ["missing", "file", "link"] {
        let path = place.beside(name).display().to_string();
        for word in [path.clone(), format!("{path}/")] {
            let failure = akv_init(["install", &word]).failure(73, "cannot create");
            failure.names(&format!("`{path}`"));
        }
    }
    assert_eq!(place.snapshot(), before);
}

#[test]
fn volume_that_no_program_can_be_started_from_is_refused() {
    let place = Place::new();
    let covered = |flags| {
        let word = place.word();
        install(&place).with(move |command| cover(command, &word, "", flags))
    };
    let failure = covered(libc::MS_NOEXEC).failure(73, "cannot create");
    failure
        .names(&format!("`{}`", place.word()))
        .names("noexec")
        .hinted();
    assert_eq!(covered(0).outcome().stdout_alone(), "");
}

#[test]
fn directory_without_write_permission_is_named() {
    let place = Place::new();
    change_mode(&place.dir(), 0o555);
    let run = install(&place).with(inherited::obey_permissions);
    let failure = run.failure(73, "cannot create");
    failure.names(&format!("`{}`", place.word())).hinted();
    assert_eq!(place.tree(), NO_OPTIONS);
}

//! Rounds that fail: the first one as `write` does, a later one with a warning.

use std::fs;
use std::process::Command;

use nix::libc;

use super::{Sidecar, count, every};
use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::Run;
use crate::support_files::Place;
use crate::support_namespaces::cover;

fn refreshed() -> (Azure, Place, Sidecar) {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let run = every(&place, &azure, &["--secret=a"]).env("AKV_INIT_TIMEOUT", "0");
    let (sidecar, _) = Sidecar::ready(run);
    (azure, place, sidecar)
}

#[test]
fn first_round_fails_as_write_does() {
    let place = Place::in_memory();
    let azure = Azure::start();
    let fails = |words: &[&str], code, cause| {
        let run = |words: &[&str]| place.write(&azure, words).env("AKV_INIT_TIMEOUT", "0");
        let once = run(words).failure(code, cause);
        let words = [&["--every=10m"], words].concat();
        let first = run(&words).failure(code, cause);
        assert_eq!(first.line["hint"], once.line["hint"]);
    };
    fails(&["--secret=absent"], 66, "not found");
    azure.secret("a", "one");
    azure.next(Endpoint::Vault, Response::rbac());
    azure.next(Endpoint::Vault, Response::rbac());
    fails(&["--secret=a"], 77, "denied");
    azure.always(Endpoint::Vault, Response::status(503));
    fails(&["--secret=a"], 69, "unavailable");
    azure.clear(Endpoint::Vault);
    fs::remove_dir(place.dir()).unwrap();
    fails(&["--secret=a"], 73, "cannot create");
    fs::create_dir(place.dir()).unwrap();
}

#[test]
fn secret_that_is_disabled_is_a_warning_and_its_file_stays() {
    let (azure, place, mut sidecar) = refreshed();
    azure.put(Stored {
        enabled: false,
        ..Stored::new("a", "two")
    });
    let warning = sidecar.round_with("warning");
    assert_eq!(
        (&warning["code"], &warning["cause"]),
        (&66.into(), &"not found".into())
    );
    assert!(warning["hint"].is_string() || warning["hint"].is_null());
    sidecar.silent_round();
    assert_eq!(place.read("a"), b"one");
    sidecar.stop();
}

#[test]
fn refusal_keeps_the_files() {
    let (azure, place, mut sidecar) = refreshed();
    for (response, code) in [
        (Response::rbac(), 77),
        (Response::disabled(), 66),
        (Response::garbage(), 76),
    ] {
        azure.next(Endpoint::Vault, response);
        assert_eq!(sidecar.round_with("warning")["code"], code);
        assert_eq!(place.read("a"), b"one");
    }
    sidecar.stop();
}

#[test]
fn unreachable_vault_is_one_warning_until_it_heals() {
    let (azure, place, mut sidecar) = refreshed();
    for (first, second) in [
        (Response::status(503), Response::reset()),
        (Response::fin(), Response::status(429)),
    ] {
        azure.cycle(Endpoint::Vault, vec![first, second]);
        let warning = sidecar.round_with("warning");
        assert_eq!(warning["code"], 69, "{warning}");
        for _ in 0..4 {
            sidecar.silent_round();
        }
        azure.clear(Endpoint::Vault);
        assert_eq!(sidecar.round_with("info")["failed_rounds"], 5);
        sidecar.silent_round();
    }
    assert_eq!(place.read("a"), b"one");
    sidecar.stop();
}

#[test]
fn failure_that_changes_is_written_again() {
    let (azure, _place, mut sidecar) = refreshed();
    azure.always(Endpoint::Vault, Response::status(503));
    sidecar.round_with("warning");
    sidecar.silent_round();
    azure.always(Endpoint::Vault, Response::rbac());
    assert_eq!(sidecar.round_with("warning")["code"], 77);
    sidecar.silent_round();
    azure.clear(Endpoint::Vault);
    azure.secret("a", "two");
    // It heals, and writes the new value.
    assert_eq!(sidecar.round().len(), 2);
    sidecar.stop();
}

#[test]
fn vault_that_cannot_be_connected_to_is_a_failed_round() {
    let (azure, place, mut sidecar) = refreshed();
    azure.close(Endpoint::Vault);
    sidecar.round_with("warning");
    sidecar.silent_round();
    azure.open(Endpoint::Vault);
    azure.secret("a", "two");
    assert_eq!(sidecar.round().len(), 2);
    assert_eq!(place.read("a"), b"two");
    sidecar.stop();
}

/// Runs a command in the namespaces of the process.
fn inside(sidecar: &Sidecar, words: &[&str]) {
    let pid = sidecar.running.pid().to_string();
    let mut command = Command::new("nsenter");
    command.args([
        "--target",
        &pid,
        "--user",
        "--mount",
        "--preserve-credentials",
    ]);
    let output = command.args(words).output().expect("there is nsenter");
    assert!(output.status.success(), "{output:?}");
}

/// The same with DIR on a file system of its own, with these flags of mount(2).
fn on_its_own_volume(run: Run, place: &Place, options: &str, flags: libc::c_ulong) -> Run {
    let dir = place.word();
    run.with(move |command| cover(command, &dir, options, libc::MS_NOSUID | flags))
}

#[test]
fn directory_that_becomes_read_only_is_one_warning() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let run = || every(&place, &azure, &["--secret=a"]);
    // In the first round it is an error.
    let read_only = on_its_own_volume(run(), &place, "mode=0755", libc::MS_RDONLY);
    read_only.failure(73, "cannot create");
    let (mut sidecar, _) = Sidecar::ready(on_its_own_volume(run(), &place, "mode=0755", 0));
    let remount = |sidecar: &Sidecar, mode: &str| {
        inside(
            sidecar,
            &[
                "mount",
                "-o",
                &format!("remount,{mode}"),
                "none",
                &place.word(),
            ],
        );
    };
    remount(&sidecar, "ro");
    azure.secret("a", "two");
    assert_eq!(sidecar.round_with("warning")["code"], 73);
    sidecar.silent_round();
    remount(&sidecar, "rw");
    assert_eq!(sidecar.round().len(), 2);
    sidecar.stop();
}

#[test]
fn full_volume_is_a_warning_and_keeps_the_old_set() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    azure.secret("b", "one");
    let run = every(&place, &azure, &["--secret=a", "--secret=b"]);
    let (mut sidecar, _) = Sidecar::ready(on_its_own_volume(run, &place, "size=64k,mode=0755", 0));
    azure.secret("a", "two");
    azure.secret("b", &"x".repeat(25_000));
    let big = format!("c={}", "y".repeat(10));
    inside(
        &sidecar,
        &[
            "dd",
            "if=/dev/zero",
            &format!("of={}/{big}", place.word()),
            "bs=4096",
            "count=9",
        ],
    );
    assert_eq!(sidecar.round_with("warning")["code"], 73);
    inside(
        &sidecar,
        &[
            "sh",
            "-c",
            &format!("test \"$(cat {}/a)\" = one", place.word()),
        ],
    );
    inside(&sidecar, &["rm", &format!("{}/{big}", place.word())]);
    assert_eq!(sidecar.round().len(), 2);
    inside(
        &sidecar,
        &[
            "sh",
            "-c",
            &format!("test \"$(cat {}/a)\" = two", place.word()),
        ],
    );
    sidecar.stop();
}

#[test]
fn directory_that_is_away_for_a_while_is_a_failed_round() {
    let (azure, place, mut sidecar) = refreshed();
    let requests = count(&azure, Endpoint::Vault);
    fs::rename(place.dir(), place.beside("away")).unwrap();
    assert_eq!(sidecar.round_with("warning")["code"], 73);
    sidecar.silent_round();
    assert_eq!(count(&azure, Endpoint::Vault), requests);
    fs::rename(place.beside("away"), place.dir()).unwrap();
    sidecar.round_with("info");
    sidecar.stop();
}

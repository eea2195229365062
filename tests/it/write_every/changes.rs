//! What a round does when a secret has changed, and when nothing has.

use std::fs;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Sidecar, count, deleted, every};
use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support_files::{MANIFEST, Place, change_mode};

#[test]
fn changed_secret_is_written_in_one_line_and_an_unchanged_one_is_not_touched() {
    for layout in ["atomic", "plain"] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        azure.secret("b", "same");
        let words = ["--layout", layout, "--secret=a", "--secret=b"];
        let (mut sidecar, lines) = Sidecar::ready(every(&place, &azure, &words));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let before = place.snapshot();
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CLOSE_WRITE;
        watch.add_watch(&place.dir(), flags).unwrap();
        watch.add_watch(&place.path("a"), flags).unwrap();
        sidecar.silent_round();
        sidecar.silent_round();
        assert!(watch.read_events().is_err(), "{layout}: an event");
        assert_eq!(place.snapshot(), before);

        azure.secret("a", "two");
        let line = sidecar.round_with("info");
        let written = if layout == "plain" { 1 } else { 2 };
        assert_eq!(
            (&line["written"], &line["files"], &line["removed"]),
            (&written.into(), &2.into(), &serde_json::Value::Null)
        );
        assert_eq!(
            (place.read("a"), place.read("b")),
            (b"two".into(), b"same".into())
        );
        assert!(!watch.read_events().unwrap().is_empty());
        sidecar.silent_round();
        // The same again is news again.
        azure.secret("a", "three");
        sidecar.round_with("info");
        azure.secret("a", "four");
        sidecar.round_with("info");
        assert_eq!(place.read("a"), b"four");
        sidecar.stop();
    }
}

#[test]
fn malformed_entry_of_the_manifest_is_written_again() {
    for (layout, manifest) in [
        ("atomic", format!("..data/{MANIFEST}")),
        ("plain", MANIFEST.into()),
    ] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        let words = ["--layout", layout, "--secret=a"];
        let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &words));
        let path = place.path(&manifest);
        let read =
            || -> serde_json::Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
        let mut malformed = read();
        malformed["files"]["a"] = 5.into();
        change_mode(&path, 0o640);
        fs::write(&path, malformed.to_string()).unwrap();
        sidecar.silent_round();
        assert!(read()["files"]["a"].is_object(), "{layout}");
        sidecar.stop();
    }
}

#[test]
fn optional_secret_that_is_deleted_loses_its_file_and_one_that_appears_gets_it() {
    for layout in ["atomic", "plain"] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        azure.secret("maybe", "here");
        let reference = format!("sub/maybe=akv://{}/maybe?optional", azure.vault());
        let words = ["--layout", layout, "--secret=a", "--secret", &reference];
        let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &words));
        assert_eq!(place.read("sub/maybe"), b"here");

        azure.always_for(Endpoint::Vault, "/secrets/maybe", deleted());
        let lines = sidecar.round();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line["level"] == "info"));
        assert_eq!(lines[1]["removed"], 1, "{lines:?}");
        assert!(!place.path("sub/maybe").exists());
        assert_eq!(place.read("a"), b"one");
        sidecar.silent_round();

        azure.clear(Endpoint::Vault);
        assert_ne!(sidecar.round_with("info")["written"], 0);
        assert_eq!(place.read("sub/maybe"), b"here");
        sidecar.silent_round();
        // It goes again, with the same note.
        azure.always_for(Endpoint::Vault, "/secrets/maybe", deleted());
        assert_eq!(sidecar.round().len(), 2);
        sidecar.stop();
    }
}

#[test]
fn only_file_can_go_and_come_back() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.always_for(Endpoint::Vault, "/secrets/maybe", deleted());
    let reference = format!("maybe=akv://{}/maybe?optional", azure.vault());
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret", &reference]));
    assert!(!place.path("maybe").exists());
    azure.clear(Endpoint::Vault);
    azure.secret("maybe", "here");
    sidecar.round_with("info");
    assert_eq!(place.read("maybe"), b"here");
    azure.always_for(Endpoint::Vault, "/secrets/maybe", deleted());
    assert_eq!(sidecar.round().len(), 2);
    assert!(!place.path("maybe").exists());
    sidecar.stop();
}

#[test]
fn outputs_of_every_format_are_refreshed() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let outputs = ["json:j", "dotenv:d", "k8s-env:k", "files"];
    let words = outputs.map(|output| format!("--output={output}"));
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("--secret=A=a");
    let reference = format!("A=akv://{}/a", azure.vault());
    *words.last_mut().unwrap() = "--secret";
    words.push(&reference);
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &words));
    for value in ["two", "three"] {
        azure.secret("a", value);
        sidecar.round_with("info");
        for file in ["j", "d", "k", "A"] {
            let content = String::from_utf8(place.read(file)).unwrap();
            assert!(content.contains(value), "{file}: {content}");
        }
    }
    sidecar.silent_round();
    sidecar.stop();
}

/// It is the one way to keep an access token in a file fresh.
#[test]
fn access_token_in_a_file_is_new_in_each_round_and_the_one_for_the_vault_is_not() {
    for layout in ["atomic", "plain"] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        let words = [
            "--layout",
            layout,
            "--secret=a",
            "--secret=t=entra-token:https://database.windows.net/",
        ];
        let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &words));
        let mut tokens = vec![place.read("t")];
        for _ in 0..3 {
            sidecar.round_with("info");
            tokens.push(place.read("t"));
        }
        sidecar.stop();
        let resources = azure.requests_at(Endpoint::Imds);
        let resources = resources.iter().map(|request| request.query("resource"));
        let of_sql = resources.filter(|it| it.as_deref() == Some("https://database.windows.net/"));
        assert_eq!(of_sql.count(), 4);
        assert_eq!(count(&azure, Endpoint::Imds), 5);
        assert_eq!(count(&azure, Endpoint::Vault), 4);
        tokens.dedup();
        assert_eq!(tokens.len(), 4);
        // A later `write` never keeps a token.
        azure.close(Endpoint::Vault);
        let again = place.write(&azure, &[&words[..], &["--keep-existing"]].concat());
        again
            .env("AKV_INIT_TIMEOUT", "0")
            .failure(69, "unavailable");
    }
}

#[test]
fn token_for_the_vault_is_used_while_it_is_valid_and_a_rejected_one_is_replaced() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let soon = |seconds: i64| Response::token(serde_json::json!({"expires_in": seconds}));
    azure.next(Endpoint::Imds, soon(240));
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    assert_eq!(count(&azure, Endpoint::Imds), 1);
    azure.next(Endpoint::Imds, soon(3_600));
    for _ in 0..3 {
        sidecar.silent_round();
        assert_eq!(count(&azure, Endpoint::Imds), 2);
    }
    let rejected = Response::status(401).header(
        "WWW-Authenticate",
        "Bearer authorization=\"https://login.microsoftonline.com/t\", resource=\"https://vault.azure.net\", \
         error=\"invalid_token\"",
    );
    azure.next(Endpoint::Vault, rejected);
    sidecar.silent_round();
    assert_eq!(count(&azure, Endpoint::Imds), 3);
    sidecar.stop();
}

#[test]
fn denied_round_gets_a_new_token_next_time() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    azure.next(Endpoint::Vault, Response::rbac());
    assert_eq!(sidecar.round_with("warning")["code"], 77);
    assert_eq!(count(&azure, Endpoint::Imds), 1);
    sidecar.round_with("info");
    assert_eq!(count(&azure, Endpoint::Imds), 2);
    sidecar.stop();
}

/// A warning that the round before had is left out, and one that is new is written.
#[test]
fn warning_is_written_when_it_is_new() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    let expired = Stored {
        expires: Some(1),
        ..Stored::new("a", "one")
    };
    azure.put(expired.clone());
    azure.secret("b", "two");
    let words = ["--secret=a", "--secret=b"];
    let (mut sidecar, lines) = Sidecar::ready(every(&place, &azure, &words));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["level"], "warning");
    sidecar.silent_round();
    azure.put(Stored {
        name: "b".to_owned(),
        value: "two".to_owned(),
        ..expired
    });
    sidecar.round_with("warning");
    sidecar.silent_round();
    // A round that fails on the way does not make it new.
    azure.next(Endpoint::Vault, Response::status(404));
    sidecar.round_with("warning");
    sidecar.round_with("info");
    sidecar.stop();
}

#[test]
fn state_of_a_place_is_that_of_a_single_write() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    sidecar.stop();
    let other = Place::in_memory();
    other.wrote(
        &azure,
        &["--layout=atomic", "--keep-existing", "--secret=a"],
    );
    assert_eq!(place.tree(), other.tree());
    assert!(fs::read_link(place.path("a")).is_ok());
}

/// What the vault names is found out anew in each round.
#[test]
fn files_of_from_come_and_go() {
    let azure = Azure::start();
    azure.secret("app-a", "1");
    azure.secret("fields", r#"{"x":"1","y":"2"}"#);
    let place = Place::in_memory();
    let vault = azure.vault();
    let list = format!("--from=akv://{vault}/app-*");
    let fields = format!("--from=akv://{vault}/fields");
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &[&list, &fields]));
    assert_eq!(place.read("a"), b"1");
    assert_eq!(place.read("y"), b"2");
    sidecar.silent_round();
    azure.secret("app-b", "2");
    azure.secret("fields", r#"{"x":"3"}"#);
    sidecar.round_with("info");
    assert_eq!(
        (place.read("b"), place.read("x")),
        (b"2".into(), b"3".into())
    );
    assert!(!place.path("y").exists());
    azure.put(Stored {
        enabled: false,
        ..Stored::new("app-a", "1")
    });
    sidecar.round_with("info");
    assert!(!place.path("a").exists());
    // A name that cannot be is a failure, which leaves the files.
    azure.secret("fields", r#"{"../x":"4"}"#);
    sidecar.round_with("warning");
    assert_eq!(place.read("x"), b"3");
    sidecar.stop();
}

/// Other runs may write files there, from the same secret.
#[test]
fn file_of_from_stays_in_the_plain_layout() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("fields", r#"{"x":"1","y":"2"}"#);
    let fields = format!("--from=akv://{}/fields", azure.vault());
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--layout=plain", &fields]));
    azure.secret("fields", r#"{"x":"3"}"#);
    sidecar.round_with("info");
    assert_eq!(
        (place.read("x"), place.read("y")),
        (b"3".into(), b"2".into())
    );
    sidecar.silent_round();
    sidecar.stop();
}

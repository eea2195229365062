//! The text of a file that holds several secrets, and the values and keys that each format refuses. `tests/formats.sh`
//! gives such files to their readers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::azure::Azure;
use crate::support::NO_OPTIONS;
use crate::support_files::Place;

/// A fake Azure whose secret `good` is `b`.
fn azure() -> Azure {
    let azure = Azure::start();
    azure.secret("good", "b");
    azure
}

/// The file of these keys and secrets in a format.
#[track_caller]
fn written(azure: &Azure, format: &str, secrets: [&str; 2]) -> String {
    let place = Place::in_memory();
    let output = format!("--output={format}:file");
    let words = ["--secret", secrets[0], "--secret", secrets[1], &output];
    place.wrote(azure, &words);
    String::from_utf8(place.read("file")).expect("it is text")
}

#[test]
fn dotenv_value_is_in_quotes_that_all_readers_understand() {
    let azure = azure();
    for (value, text) in [
        ("", "''"),
        ("plain", "'plain'"),
        (" two  words\t", "' two  words\t'"),
        ("#~=!*%&;|<>()[]?", "'#~=!*%&;|<>()[]?'"),
        ("pa$$word`id`$(id)", "'pa$$word`id`$(id)'"),
        ("}${", "'}${'"),
        (r"a\b\n", r"'a\b\n'"),
        (r#"say "hi""#, r#"'say "hi"'"#),
        ("one\ntwo", "'one\ntwo'"),
        ("é\u{1}\u{7f}", "'é\u{1}\u{7f}'"),
        ("it's", r#""it's""#),
        (r#"it's "it""#, r#""it's \"it\"""#),
        (r"it's a\b", r#""it's a\\b""#),
        (r"a\\b", r#""a\\\\b""#),
        (r#"\\" "#, r#""\\\\\" ""#),
    ] {
        azure.secret("value", value);
        let found = written(&azure, "dotenv", ["A=value", "B_2=good"]);
        assert_eq!(found, format!("A={text}\nB_2='b'\n"));
    }
}

#[test]
fn kubelet_value_is_in_single_quotes() {
    let azure = azure();
    for value in ["\\ \"$x\"\n\r#", "${A}\\"] {
        azure.secret("value", value);
        let found = written(&azure, "k8s-env", ["A=value", "b-c.d=good"]);
        assert_eq!(found, format!("A='{value}'\nb-c.d='b'\n"));
    }
    // Each line has to fit into the kubelet's buffer of 64 KiB, which ends at its line end.
    let long = |count| "x".repeat(count);
    for (value, fits) in [
        (long(65_529), true),
        (long(65_530), false),
        (format!("x\n{}\nx", long(65_535)), true),
        (format!("x\n{}\nx", long(65_536)), false),
    ] {
        azure.secret("value", &value);
        let words = ["--secret", "ABC=value", "--output", "k8s-env:file"];
        let code = Place::in_memory().write(&azure, &words).outcome().code;
        assert_eq!(code, Some(if fits { 0 } else { 78 }), "{}", value.len());
    }
}

#[test]
fn json_has_every_value_in_the_order_given() {
    let azure = azure();
    let value = "\"\\\0\r\n\u{ffff}é";
    azure.secret("value", value);
    let found = written(&azure, "json", ["b=value", "a.b/c=good"]);
    let text = "{\n  \"b\": \"\\\"\\\\\\u0000\\r\\n\u{ffff}é\",\n  \"a.b/c\": \"b\"\n}\n";
    assert_eq!(found, text);
    let read: Value = serde_json::from_str(&found).expect("it is JSON");
    assert_eq!((&read["b"], &read["a.b/c"]), (&value.into(), &"b".into()));
}

/// The message is the same for every value.
#[test]
fn value_that_readers_disagree_on_is_refused_without_revealing_it() {
    let dotenv = [
        "it's $5",
        "it's `",
        r"a\\$",
        r"a\\`",
        r"a\",
        r"a\\",
        r"it's\",
        "${HOME}",
        "a${b c}",
        "a\rb",
        "a\r\nb",
        "a\0b",
        "\u{fdd0}",
        "a\u{10ffff}",
    ];
    let k8s_env = ["", "it's", "a\r\nb", "a\0b"];
    for (format, values) in [("dotenv", &dotenv[..]), ("k8s-env", &k8s_env)] {
        let (azure, place) = (azure(), Place::in_memory());
        let output = format!("--output={format}:file");
        let words = ["--secret", "GOOD=good", "--secret", "BAD=value", &output];
        let mut messages = BTreeSet::new();
        for value in values {
            azure.secret("value", value);
            let failure = place.write(&azure, &words).failure(78, "config");
            failure.names("`file`: BAD: ").hinted();
            messages.insert(failure.message().to_owned());
        }
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(place.tree(), NO_OPTIONS);
    }
}

#[test]
fn name_that_is_not_a_valid_key_is_refused() {
    let azure = azure();
    let long = "A".repeat(129);
    let rows: [(&str, &[&str], &[&str]); 3] = [
        (
            "dotenv",
            &["DB_PASSWORD", "_a1", "random", &long],
            &[
                "1A",
                "tls.key",
                "A-B",
                "A B",
                "É",
                "A;$(id);B",
                "A\n",
                "_",
                "RANDOM",
                "BASHPID",
            ],
        ),
        (
            "k8s-env",
            &["tls.key", "_a-1", &long[1..]],
            &["1A", "dir/tls.key", "#A", &long],
        ),
        ("json", &["dir/tls.key", "1 É"], &[]),
    ];
    for (format, accepted, refused) in rows {
        let place = Place::in_memory();
        let run = |name: &str| {
            let output = format!("--output={format}:file");
            let secret = format!("--secret={name}=good");
            place.write(&azure, &[&output, &secret])
        };
        for name in accepted {
            let outcome = run(name).outcome();
            assert_eq!(outcome.code, Some(0), "{name:?}: {}", outcome.stderr);
        }
        for name in refused {
            run(name).failure(78, "config").hinted();
        }
    }
}

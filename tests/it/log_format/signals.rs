//! The line of a signal that ends the wait.

use std::fs;

use serde_json::{Value, json};

use super::{run, with_secret};
use crate::azure::{Endpoint, Response};
use crate::support_requests::{NAME, stopped};
use crate::support_tables::in_parallel;

/// As long as a line may be, with its end.
const LONGEST: usize = 4_096;

#[test]
fn signal_is_an_error_with_its_code() {
    for (words, purpose) in [
        (&["get", "REF"][..], "standard output"),
        (&["exec", "--secret", "S=REF", "--", "true"], "S"),
    ] {
        let (azure, reference) = with_secret();
        azure.always(Endpoint::Vault, Response::usual().hold());
        let words: Vec<String> = words
            .iter()
            .map(|word| word.replace("REF", &reference))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let run = run(&azure, &words).env("AKV_INIT_LOG_FORMAT", "json");
        let outcome = stopped(run, || azure.wait_for(Endpoint::Vault, 1));
        let failure = outcome.failure(143, "signal");
        for name in ["SIGTERM", NAME, &azure.vault(), purpose] {
            failure.names(name);
        }
        assert_eq!(outcome.stderr.lines().count(), 1);
    }
}

/// Names and text of the server may contain anything.
#[test]
fn line_of_a_signal_is_an_object_whatever_it_names() {
    let long = "世\"界\\".repeat(25);
    let names = [
        "a \"quoted\" name".to_owned(),
        "back\\slash\\".to_owned(),
        "{\"level\": \"info\"}".to_owned(),
        "Grüße, 世界 🔑".to_owned(),
        // Right to left, which would turn the line round.
        "a\u{202e}b".to_owned(),
        [&long[..]; 5].join("/"),
        format!("x{}", [&long[..]; 5].join("/")),
        format!("xx{}", [&long[..]; 5].join("/")),
        "\\".repeat(255),
        [&"\"".repeat(255)[..]; 3].join("/"),
    ];
    in_parallel(names, |name| {
        let (azure, reference) = with_secret();
        let said = "server \"said\" \\ this \u{1}\u{1b}[31m\nand 世界 that";
        azure.always(Endpoint::Vault, Response::usual().hold());
        let dir = azure.dir().join("out");
        fs::create_dir(&dir).unwrap();
        let secret = format!("{name}={reference}");
        let words = ["write", "--secret", &secret, dir.to_str().unwrap()];
        let texts = ["text", "json"].map(|format| {
            let run = run(&azure, &words).env("AKV_INIT_LOG_FORMAT", format);
            azure.next(
                Endpoint::Vault,
                Response::vault_error(503, "Busy", None, said),
            );
            let before = azure.requests_at(Endpoint::Vault).len();
            stopped(run, || azure.wait_for(Endpoint::Vault, before + 2))
        });
        let text = texts[0].error().expect("an error").to_owned();
        let line = texts[1].stderr.lines().last().unwrap();
        assert!(line.len() < LONGEST, "{}", line.len());
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(
            (&object["level"], &object["code"]),
            (&json!("error"), &json!(143))
        );
        let message = object["message"].as_str().unwrap();
        // What follows the duration, which may differ by a second.
        let behind = |text: &str| {
            let (_, rest) = text.split_once(" s, ").expect("a duration");
            rest.to_owned()
        };
        let (text, message) = (behind(&text), behind(message));
        // Each format is cut between characters.
        let whole = message.ends_with(')');
        let same = if whole {
            text == message
        } else {
            text.starts_with(&message)
        };
        assert!(same, "{text}\n{message}");
        assert!(
            whole || line.len() > LONGEST - 8,
            "cut at {} bytes: {line}",
            line.len()
        );
        assert!(
            !message.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{message:?}"
        );
    });
}

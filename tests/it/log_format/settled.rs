//! Reading the objects of a run, and what differs from run to run in them.

use serde_json::Value;

use crate::support::Outcome;

/// Each line of standard error, which has to be an object with a level and a message and none of them empty.
#[track_caller]
pub fn raw_objects(outcome: &Outcome) -> Vec<Value> {
    assert!(
        outcome.stderr.is_empty() || outcome.stderr.ends_with('\n'),
        "{}",
        outcome.stderr
    );
    let lines = outcome.stderr.lines();
    lines
        .map(|line| {
            let object: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(object.is_object(), "{line}");
            let level = object["level"].as_str().unwrap_or_default();
            assert!(
                ["debug", "info", "warning", "error"].contains(&level),
                "{line}"
            );
            assert!(
                object["message"]
                    .as_str()
                    .is_some_and(|message| !message.is_empty()),
                "{line}"
            );
            object
        })
        .collect()
}

/// The same without times and ids.
#[track_caller]
pub fn objects(outcome: &Outcome) -> Vec<Value> {
    let mut objects = raw_objects(outcome);
    for value in objects
        .iter_mut()
        .flat_map(|object| object.as_object_mut().unwrap().iter_mut())
    {
        match value {
            (_, Value::String(text)) => *text = settled(text),
            (name, number) if matches!(name.as_str(), "ms" | "next_ms") => {
                assert!(number.is_u64(), "{name}: {number}");
                *number = 0.into();
            }
            _ => {}
        }
    }
    objects
}

/// Every text in an object, as it was before it was escaped.
pub fn texts(object: &Value) -> Vec<String> {
    let values = object.as_object().unwrap().values();
    values
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// A text with `N` for durations, `ID` for request ids, and without
/// the time of day.
pub fn settled(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let settled: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| {
            let bare = word
                .trim_start_matches('(')
                .trim_end_matches([',', ';', ')']);
            let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
            let next = words.get(at + 1).copied().unwrap_or_default();
            let unit = next.trim_end_matches([',', ';', ')', ':']);
            let before = &words[at.saturating_sub(2)..at];
            let shape: String = bare
                .chars()
                .map(|c| if c.is_ascii_digit() { '9' } else { c })
                .collect();
            let settled = match shape.as_str() {
                _ if is_number && matches!(unit, "ms" | "s" | "days") => "N",
                _ if before == ["request", "id"] && bare.split('-').count() == 5 => "ID",
                "9999-99-99" => "DATE",
                "99:99:99" => "TIME",
                _ => bare,
            };
            word.replacen(bare, settled, usize::from(!bare.is_empty()))
        })
        .collect();
    settled.join(" ")
}

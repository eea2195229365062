//! Reading what `check` printed.

use serde_json::Value;

use crate::azure::Azure;
use crate::log_format::settled::settled;

/// Where the text of a link begins.
const MARGIN: &str = "                    ";

/// The report with each link and each hint in one line, and without what differs from run to run.
pub fn unfolded(azure: &Azure, report: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in report.lines() {
        let folded = line
            .strip_prefix(MARGIN)
            .filter(|rest| !rest.starts_with("hint: "));
        match (folded, lines.last_mut()) {
            (Some(rest), Some(last)) => {
                last.push(' ');
                last.push_str(rest);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    let text: String = lines
        .iter()
        .map(|line| format!("{}\n", settled(line)))
        .collect();
    let imds = azure.imds();
    text.replace(&azure.vault(), "VAULT")
        .replace(imds.trim_start_matches("http://"), "IMDS")
}

/// Each object of `--format json`, without what differs from run to run.
#[track_caller]
pub fn links(report: &str) -> Vec<Value> {
    let mut links: Vec<Value> = report
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for (name, value) in links
        .iter_mut()
        .flat_map(|link| link.as_object_mut().expect("an object"))
    {
        match value {
            Value::String(text) if name.ends_with("request_id") => *text = "ID".to_owned(),
            Value::String(text) => *text = settled(text),
            Value::Number(_) if name == "ms" => *value = 0.into(),
            _ => {}
        }
    }
    links
}

/// The last link, with its hint.
pub fn verdict(report: &str) -> &str {
    let at = report.rfind(" verdict ").expect("a verdict");
    let at = report[..at].rfind('\n').map_or(0, |end| end + 1);
    &report[at..]
}

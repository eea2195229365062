//! The picture of a terminal in the README, made from the two reports of `check` in docs/troubleshooting.md, which a test
//! compares with what `check` prints:
//!
//! ```sh
//! cargo run --example capture < docs/troubleshooting.md > docs/images/check.svg
//! ```

use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Columns of the terminal, and where in a report the names of the steps begin, and the text about them.
const COLUMNS: usize = 80;
const STEP: usize = 8;
const MARGIN: &str = "                    ";
/// The size of a character and the space around the text, in pixels.
const CHARACTER: f64 = 7.8;
const LINE: usize = 18;
const SPACE: usize = 16;

#[allow(dead_code)] // The tests include this file for the picture.
fn main() -> io::Result<()> {
    let page = io::read_to_string(io::stdin())?;
    io::stdout().write_all(picture(&page).as_bytes())
}

/// The picture, from the page with the reports: first the one that fails, then the one that passes.
pub fn picture(page: &str) -> String {
    let mut reports = page.split("```text\n").skip(1);
    let mut next = || {
        let report = reports.next().unwrap_or_default();
        report.split("```").next().unwrap_or_default()
    };
    let (passing, failing) = (next(), next());
    let command = "$ akv-init check -- /opt/mssql/bin/sqlservr";
    let mut lines = vec![command.to_owned()];
    lines.extend(folded(failing));
    lines.push(String::new());
    lines.push("# the pod gets the label, and its service account the annotation".to_owned());
    lines.push(command.to_owned());
    lines.extend(folded(passing));

    let width = (COLUMNS as f64 * CHARACTER) as usize + 2 * SPACE;
    let height = lines.len() * LINE + 2 * SPACE;
    let mut picture = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="akv-init check, first failing with a hint, then passing">
<style>text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d0d7de }} .ok {{ fill: #56d364 }} .failed {{ fill: #ff7b72; font-weight: bold }} .hint {{ fill: #e3b341 }} .command {{ fill: #ffffff; font-weight: bold }} .comment {{ fill: #8b949e }}</style>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#30363d"/>
"##
    );
    let mut is_hint = false;
    for (index, line) in lines.iter().enumerate() {
        is_hint = line.starts_with(MARGIN) && (is_hint || line.trim_start().starts_with("hint: "));
        let y = SPACE + LINE * index + 13;
        let mut text = |column: usize, class: &str, text: &str| {
            let x = SPACE as f64 + column as f64 * CHARACTER;
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                picture,
                r#"<text x="{x:.1}" y="{y}" class="{class}">{text}</text>"#
            );
        };
        match line.split(' ').next() {
            Some("$") => text(0, "command", line),
            Some("#") => text(0, "comment", line),
            Some("") if is_hint => text(MARGIN.len(), "hint", line.trim_start()),
            Some("") if !line.is_empty() => text(MARGIN.len(), "text", line.trim_start()),
            Some(status) if !line.is_empty() => {
                text(0, &status.to_lowercase(), status);
                text(STEP, "text", line[STEP..MARGIN.len()].trim_end());
                text(MARGIN.len(), "text", &line[MARGIN.len()..]);
            }
            _ => {}
        }
    }
    picture + "</svg>\n"
}

/// A report as a terminal of this width shows it.
fn folded(report: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in report.lines() {
        let continued = line.strip_prefix(MARGIN);
        let continued = continued.filter(|text| !text.starts_with("hint: "));
        if continued.is_none() {
            lines.push(String::new());
        }
        for word in continued.unwrap_or(line).split_inclusive(' ') {
            let last = lines
                .last_mut()
                .expect("a report does not begin with a margin");
            let space = if continued.is_some() && !last.ends_with(' ') {
                " "
            } else {
                ""
            };
            if last.len() + space.len() + word.trim_end().len() > COLUMNS {
                lines.push(MARGIN.to_owned() + word);
            } else {
                last.push_str(space);
                last.push_str(word);
            }
        }
    }
    lines
}

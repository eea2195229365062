//! The documentation: the README, the pages in `docs/`, and all other Markdown files.

use std::fs;
use std::path::Path;

/// The text of a page, by its path from the top of the repository.
pub fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README and every page in `docs/`: the path from the top of the repository, and the text.
pub fn pages() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut paths: Vec<String> = names
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    paths.push("README.md".to_owned());
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = page(&path);
            (path, text)
        })
        .collect()
}

/// Every Markdown file of the repository, as [`pages`] has them.
pub fn all_pages() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{folder}{name}");
            if entry.file_type().unwrap().is_dir() {
                if !["target", ".git"].contains(&name.as_str()) {
                    folders.push(format!("{path}/"));
                }
            } else if name.ends_with(".md") {
                found.push((path.clone(), page(&path)));
            }
        }
    }
    found.sort();
    found
}

/// A section of a page, without its title.
pub fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let start = page.split_once(&format!("\n## {title}\n"));
    let (_, start) = start.unwrap_or_else(|| panic!("no section {title}"));
    start.split("\n## ").next().unwrap()
}

/// The fenced blocks of one kind, such as `sh`.
pub fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    text.split(&format!("```{kind}\n"))
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The words of a simple command as a shell splits them, with the variables of the page.
pub fn words(command: &str, page: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let word = words.last_mut().unwrap();
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None | Some('"'), '$') => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                let set = page
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
                let set = set.unwrap_or_else(|| panic!("the page does not set {name}"));
                // The output of a command.
                word.push_str(if set.starts_with('$') { "x" } else { set });
                rest = after;
            }
            (None, '|' | ';' | '&' | '>' | ')' | '\n') => break,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(String::new()),
            (_, c) => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

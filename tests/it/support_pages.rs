//! The documentation: the README and the pages in `docs/`.

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

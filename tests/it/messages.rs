//! All messages of the program, as runs printed them, in `messages.golden.txt`.
//!
//! The file is compared as a whole, and each text of the sources must be in it or have a reason in [`EXCEPTIONS`] why no
//! test can cause it. A new message needs a run that prints it.

mod book;
mod check;
mod command;
mod entra;
mod exceptions;
mod files;
mod identity;
mod many;
mod names;
mod network;
mod output;
mod texts;
mod time;
mod typed;
mod values;
mod vault;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use book::{Page, difference, text_of};
use exceptions::EXCEPTIONS;
use texts::texts;

/// The variable with which the test writes the file.
const ACCEPT: &str = "AKV_INIT_ACCEPT_MESSAGES";

const HEAD: &str = "\
# Each message that akv-init can print, once, without the `akv-init: ` before it. A hint follows the messages that have
# it. Addresses of the fake Azure are shown as those of Azure, and what differs between runs as N, ID or YYYY-MM-DD.
# tests/it/messages.rs compares the file. To accept new messages and to read the change:
#   AKV_INIT_ACCEPT_MESSAGES=1 cargo test --test it messages && git diff tests/it/messages.golden.txt
";

/// A heading, and the function that fills the page.
type Section = (&'static str, fn(&mut Page));

/// The pages, in the order in which a user meets the messages.
const SECTIONS: &[Section] = &[
    ("The command line", typed::command_line),
    ("Settings in the environment", typed::settings),
    ("References", typed::references),
    ("Variables that get a secret", typed::variables),
    ("Files that get a secret", typed::files),
    ("What --dry-run shows", typed::plans),
    ("COMMAND", command::command),
    ("COMMAND's environment", command::values),
    ("COMMAND in a child", command::supervised),
    ("Which identity", identity::choice),
    ("What each identity is called", identity::names),
    ("Managed identity: IMDS", identity::imds),
    ("Managed identity: other platforms", identity::platforms),
    ("Answers without an access token", identity::answers),
    ("Entra", entra::refusals),
    ("Credentials of a service principal", entra::credentials),
    ("The Azure CLI", entra::azure_cli),
    ("Key Vault", vault::refusals),
    ("What a reference makes of a secret", values::made),
    ("Many names at once", many::typed),
    ("Many names at once, from a vault", many::fetched),
    ("Answers that are not Key Vault's", vault::others),
    ("A vault that names its resource", vault::unknown),
    ("Names", names::names),
    ("Connections", network::connections),
    ("Certificates", network::certificates),
    ("Proxies", network::proxies),
    ("Progress", time::progress),
    ("The deadline", time::deadline),
    ("Several secrets that cannot be read", time::several),
    ("What --verbose adds", time::steps),
    ("Files of a directory", files::written),
    ("Files that are kept", files::kept),
    ("Files that are refreshed", files::refreshed),
    ("Files in memory, and akv-init itself", files::others),
    ("Standard output", output::printed),
    ("--log-format json", output::json),
    ("check", check::links),
    ("check: many names at once", many::checked),
    ("check: clocks", check::clocks),
    ("check: broken links", check::broken),
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/messages.golden.txt")
}

fn read() -> String {
    fs::read_to_string(golden()).unwrap_or_default()
}

#[test]
fn messages_are_those_of_the_file() {
    let page = |heading: &'static str, fill: fn(&mut Page)| {
        let mut page = Page::new(heading);
        fill(&mut page);
        page
    };
    let pages: Vec<Page> = thread::scope(|scope| {
        let pages = SECTIONS.iter();
        let pages: Vec<_> = pages
            .map(|(heading, fill)| scope.spawn(move || page(heading, *fill)))
            .collect();
        pages
            .into_iter()
            .map(|page| page.join().expect("the page is complete"))
            .collect()
    });
    let (text, redundant) = text_of(&pages);
    let text = format!("{HEAD}{text}");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(golden(), &text).expect("the file can be written");
    }
    let difference = difference(&read(), &text);
    assert!(
        difference.is_empty(),
        "\n{difference}\n- is the line of messages.golden.txt, + the new one. To accept: {ACCEPT}=1\n"
    );
    assert!(
        redundant.is_empty(),
        "these runs print no new message:\n{}",
        redundant.join("\n")
    );
}

#[test]
fn texts_of_the_sources_are_in_the_file_or_have_an_exception() {
    let file = read();
    let texts = texts();
    assert!(texts.len() > 500, "the texts were not found");
    let lines: Vec<String> = file
        .lines()
        .map(|line| format!("akv-init: {line}"))
        .collect();
    let is_printed = |text: &texts::Text| lines.iter().any(|line| text.is_in(line));
    let (printed, missing): (Vec<_>, Vec<_>) = texts.iter().partition(|text| is_printed(text));
    let exceptions: Vec<&str> = EXCEPTIONS
        .iter()
        .flat_map(|(_, texts)| *texts)
        .copied()
        .collect();
    let mut errors = Vec::new();
    for text in missing {
        if !exceptions.contains(&text.text.as_str()) {
            errors.push(format!(
                "{}: not in the file: {:?}",
                text.location, text.text
            ));
        }
    }
    for exception in exceptions {
        if let Some(text) = printed.iter().find(|text| text.text == exception) {
            errors.push(format!(
                "{}: an exception that is in the file: {exception:?}",
                text.location
            ));
        } else if !texts.iter().any(|text| text.text == exception) {
            errors.push(format!(
                "an exception that is not in the sources: {exception:?}"
            ));
        }
    }
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

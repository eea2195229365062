//! Every message that the program can print, as a run of it printed it, in one file: so that the wording is read, and
//! kept, as a whole.
//!
//! A theme is a page of `messages.golden.txt`. The file is compared as a whole, and every text in the sources must
//! stand in it or have a reason in [`EXCEPTIONS`] why no test can provoke it: whoever adds a message adds the run that
//! prints it.

mod book;
mod check;
mod command;
mod entra;
mod exceptions;
mod files;
mod identity;
mod names;
mod network;
mod output;
mod texts;
mod time;
mod typed;
mod vault;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use book::{Page, bind, difference};
use exceptions::EXCEPTIONS;
use texts::texts;

/// Whoever sets it writes the file anew.
const ACCEPT: &str = "AKV_INIT_ACCEPT_MESSAGES";

const HEAD: &str = "\
# Every message that akv-init can print, once, as a run of it printed it, without the `akv-init: ` before it.
# Addresses of the stand-in are shown as those of Azure, and what differs from run to run as N, ID or YYYY-MM-DD;
# lines that `check` folds are whole.
# tests/it/messages.rs compares all of it. To accept what is said now, and then to read what that changed:
#   AKV_INIT_ACCEPT_MESSAGES=1 cargo test --test it messages && git diff tests/it/messages.golden.txt
";

/// A heading, and what fills the page below it.
type Theme = (&'static str, fn(&mut Page));

/// The themes, in the order in which one meets them.
const THEMES: &[Theme] = &[
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
    ("Answers that are not Key Vault's", vault::others),
    ("A vault that has to say what it wants", vault::unknown),
    ("Names", names::names),
    ("Connections", network::connections),
    ("Certificates", network::certificates),
    ("Proxies", network::proxies),
    ("Patience", time::patience),
    ("The deadline", time::deadline),
    ("Several secrets that cannot be read", time::several),
    ("What --verbose adds", time::steps),
    ("Files of a directory", files::written),
    ("Files that are kept", files::kept),
    ("Files in memory, and akv-init itself", files::others),
    ("Standard output", output::printed),
    ("--log-format json", output::json),
    ("check", check::links),
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
fn what_is_said_is_what_stands_in_the_file() {
    let write = |heading: &'static str, theme: fn(&mut Page)| {
        let mut page = Page::new(heading);
        theme(&mut page);
        page
    };
    let pages: Vec<Page> = thread::scope(|scope| {
        let pages = THEMES.iter();
        let pages: Vec<_> = pages
            .map(|(heading, theme)| scope.spawn(move || write(heading, *theme)))
            .collect();
        pages
            .into_iter()
            .map(|page| page.join().expect("its theme has no error"))
            .collect()
    });
    let (text, idle) = bind(&pages);
    let text = format!("{HEAD}{text}");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(golden(), &text).expect("the file can be written");
    }
    let difference = difference(&read(), &text);
    assert!(
        difference.is_empty(),
        "\n{difference}\n- is what stood in messages.golden.txt, + is what is said now. To accept that: {ACCEPT}=1\n"
    );
    assert!(
        idle.is_empty(),
        "These runs say nothing that others have not said before:\n{}",
        idle.join("\n")
    );
}

#[test]
fn every_text_of_the_sources_stands_in_the_file_or_cannot_be_provoked() {
    let file = read();
    let texts = texts();
    assert!(texts.len() > 500, "the texts were not found");
    let lines: Vec<String> = file
        .lines()
        .map(|line| format!("akv-init: {line}"))
        .collect();
    let said = |text: &texts::Text| lines.iter().any(|line| text.stands_in(line));
    let (said, unsaid): (Vec<_>, Vec<_>) = texts.iter().partition(|text| said(text));
    let exceptions: Vec<&str> = EXCEPTIONS
        .iter()
        .flat_map(|(_, texts)| *texts)
        .copied()
        .collect();
    let mut offences = Vec::new();
    for text in unsaid {
        if !exceptions.contains(&text.text.as_str()) {
            offences.push(format!("{}: nobody has said {:?}", text.place, text.text));
        }
    }
    for exception in exceptions {
        if let Some(text) = said.iter().find(|text| text.text == exception) {
            offences.push(format!(
                "{}: no exception any more: {exception:?}",
                text.place
            ));
        } else if !texts.iter().any(|text| text.text == exception) {
            offences.push(format!("an exception for what is not there: {exception:?}"));
        }
    }
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

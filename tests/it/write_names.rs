//! What `write` is told and what its files may be called: whatever is wrong is said by its name before anything is
//! asked and before anything is written.

mod dry_run;
mod words;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::azure::Azure;
use crate::become_command::inherited;
use crate::network::wire::connections;
use crate::support_files::Place;

/// Whoever wrote the manifest.
const CONFIG: i32 = 78;
/// Whoever typed the words.
const USAGE: i32 = 64;

/// Where nothing is to be asked and nothing to be written.
struct Nothing {
    azure: Azure,
    place: Place,
}

impl Nothing {
    fn new() -> Nothing {
        let (azure, place) = (Azure::start(), Place::new());
        Nothing { azure, place }
    }

    /// A run with these words and DIR ends with this code and these lines; nothing was asked and nothing written.
    #[track_caller]
    fn refused(&self, words: &[&str], code: i32, lines: &[&str]) {
        let run = self.place.write(&self.azure, words);
        run.outcome().failed(code, lines);
        self.end();
    }

    /// The same with a secret for each of these names.
    #[track_caller]
    fn names(&self, options: &[&str], names: &[&str], why: &str) {
        let secrets = secrets(names);
        let secrets = secrets.iter().map(String::as_str);
        let words: Vec<&str> = options.iter().copied().chain(secrets).collect();
        self.refused(&words, CONFIG, &[&format!("error: {why}")]);
    }

    #[track_caller]
    fn end(&self) {
        assert_eq!(self.place.tree(), [""; 0]);
        assert_eq!(connections(&self.azure), 0);
    }
}

/// One secret for each of these names.
fn secrets(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("--secret={name}=alpha"))
        .collect()
}

#[test]
fn a_name_is_a_relative_path_of_ordinary_components() {
    let nothing = Nothing::new();
    let long = "x".repeat(256);
    let own = "a component of it starts with `..`, as only akv-init's own files do";
    for (name, why) in [
        ("/a", "it is an absolute path; it has to be one below DIR"),
        ("/", "it is an absolute path; it has to be one below DIR"),
        ("a/", "a component of it is empty"),
        ("a//b", "a component of it is empty"),
        (".", "a component of it is `.`"),
        ("./a", "a component of it is `.`"),
        ("a/.", "a component of it is `.`"),
        ("a/./b", "a component of it is `.`"),
        ("..", own),
        ("../a", own),
        ("a/..", own),
        ("a/../b", own),
        ("...", own),
        ("..a", own),
        ("..data", own),
        ("..data/a", own),
        ("..data_tmp", own),
        ("..akv-init.json", own),
        ("..akv-init-0123456789abcdef/a", own),
        ("a/..data", own),
        (&long, "a component of it is longer than 255 bytes"),
        (
            &format!("a/{long}/b"),
            "a component of it is longer than 255 bytes",
        ),
        // Two bytes each.
        (
            &"ü".repeat(128),
            "a component of it is longer than 255 bytes",
        ),
    ] {
        let shown = match name.char_indices().nth(255) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.to_owned(),
        };
        let why = format!("file name `{shown}`: {why}");
        nothing.names(&[], &[name], &why);
        nothing.names(&["--layout", "atomic"], &["good", name], &why);
        // Whoever types a file's name in another option has typed it wrongly.
        let output = format!("json:{name}");
        let error = format!("error: --output: {why}");
        let words = ["--output", &output, "--secret", "a=alpha"];
        nothing.refused(&words, USAGE, &[&error, "hint: see akv-init --help"]);
    }
}

/// What steers a terminal is not printed.
#[test]
fn a_name_without_control_characters() {
    let nothing = Nothing::new();
    for name in ["a\n", "\u{1}", "a\u{7f}b", "a\u{85}", "a\tb", "\u{1b}[2J"] {
        let shown = name.replace(char::is_control, " ");
        let why = format!("file name `{shown}`: it holds a control character");
        nothing.names(&[], &[name], &why);
    }
}

#[test]
fn a_name_may_be_as_long_as_a_path_can_be() {
    let azure = Azure::start();
    azure.secret("alpha", "first");
    let component = "x".repeat(255);
    let deep = [component.as_str(); 15].join("/");
    for layout in ["plain", "atomic"] {
        let place = Place::new();
        let secret = format!("--secret={deep}=alpha");
        place.wrote(&azure, &["--layout", layout, &secret]);
        assert_eq!(place.read(&deep), b"first");
    }
    let longer = [component.as_str(); 17].join("/");
    let why = format!("file name `{component}…`: it is longer than a path can be");
    Nothing::new().names(&[], &[&longer], &why);
}

#[test]
fn no_two_files_have_one_name() {
    let nothing = Nothing::new();
    let secret = |name: &str| format!("{name}: it is given twice");
    let file = |name: &str| format!("file name `{name}`: it is given twice");
    nothing.names(&[], &["a", "a"], &secret("a"));
    nothing.names(&["--output", "json:all"], &["a", "a"], &secret("a"));
    nothing.names(
        &["--output", "files", "--output", "json:a"],
        &["a"],
        &file("a"),
    );
    nothing.names(
        &["--output", "json:a", "--output=files"],
        &["b", "a"],
        &file("a"),
    );
    nothing.names(
        &["--output", "json:x", "--output", "dotenv:x"],
        &["A"],
        &file("x"),
    );
    nothing.names(
        &["--output", "json:x", "--output", "json:x"],
        &["A"],
        &file("x"),
    );
    nothing.names(
        &["--output", "files", "--output", "files"],
        &["a"],
        &file("a"),
    );
}

/// A name that is only a key does not stand in the way of a file.
#[test]
fn a_key_is_no_file() {
    let azure = Azure::start();
    azure.secret("alpha", "first");
    let place = Place::new();
    place.wrote(
        &azure,
        &[
            "--secret", "a=alpha", "--secret", "A=alpha", "--output", "json:a",
        ],
    );
    assert_eq!(place.names(), ["a 0440"]);
}

#[test]
fn no_file_is_the_directory_of_another() {
    let nothing = Nothing::new();
    for (names, why) in [
        (
            &["a", "a/b"][..],
            "`a/b`: `a` cannot be a file and its directory",
        ),
        (
            &["a/b", "a"],
            "`a`: it cannot be a file and the directory of `a/b`",
        ),
        (
            &["a/b/c/d", "x", "a/b"],
            "`a/b`: it cannot be a file and the directory of `a/b/c/d`",
        ),
        (
            &["a/b", "a/b.c", "a/b/c"],
            "`a/b/c`: `a/b` cannot be a file and its directory",
        ),
    ] {
        for layout in ["plain", "atomic"] {
            nothing.names(&["--layout", layout], names, &format!("file name {why}"));
        }
    }
    nothing.names(
        &["--output", "files", "--output", "json:a/all"],
        &["a"],
        "file name `a/all`: `a` cannot be a file and its directory",
    );
}

#[test]
fn with_from_env_the_names_of_variables_are_names_of_files() {
    let (azure, place) = (Azure::start(), Place::new());
    let run = |name: &str| {
        place
            .write(&azure, &["--from-env"])
            .env(name, "akv:///alpha")
    };
    for (name, why) in [
        ("/a", "it is an absolute path; it has to be one below DIR"),
        ("a//b", "a component of it is empty"),
        (
            "..data",
            "a component of it starts with `..`, as only akv-init's own files do",
        ),
    ] {
        let error = format!("error: file name `{name}`: {why}");
        run(name).outcome().failed(CONFIG, &[&error]);
    }
    let twice = place
        .write(&azure, &["--from-env", "--secret", "A=beta"])
        .env("A", "akv:///alpha");
    twice
        .outcome()
        .failed(CONFIG, &["error: A: it is given twice"]);
    let inside = run("a").env("a/b", "akv:///alpha").outcome();
    assert_eq!(inside.code, Some(CONFIG), "{}", inside.stderr);
    // What std's Command cannot express.
    let way = OsString::from(format!(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST={}",
        azure.imds()
    ));
    let entry = |text: &[u8]| OsString::from_vec(text.to_vec());
    let bytes = [way.clone(), entry(b"A\xff=akv://kv1/alpha")];
    place
        .write(&azure, &["--from-env"])
        .with(|command| inherited::environ(command, &bytes))
        .outcome()
        .failed(CONFIG, &["error: A\u{fffd}: the name is not UTF-8"]);
    let twice = [way, entry(b"A=akv://kv1/alpha"), entry(b"A=other")];
    place
        .write(&azure, &["--from-env"])
        .with(|command| inherited::environ(command, &twice))
        .outcome()
        .failed(
            CONFIG,
            &["error: A: the variable stands twice in the environment, once as a reference"],
        );
    assert_eq!(place.tree(), [""; 0]);
    assert_eq!(connections(&azure), 0);
}

#[test]
fn with_from_env_there_has_to_be_a_reference() {
    let (azure, place) = (Azure::start(), Place::new());
    let none = [
        "error: --from-env: no variable of the environment is a reference",
        "hint: set one in the manifest, such as DB_PASSWORD: akv://VAULT/NAME, or name files with --secret",
    ];
    for words in [
        &["--from-env"][..],
        &["--from-env", "--literal", "A", "--literal", "ABSENT"],
    ] {
        let run = place.write(&azure, words).env("A", "a value");
        run.outcome().failed(CONFIG, &none);
    }
    let run = place.write(&azure, &["--from-env", "--literal", "A"]);
    run.env("A", "akv:///alpha").outcome().failed(CONFIG, &none);
    // What was meant as one fails closed, as it does for `exec`.
    let run = place
        .write(&azure, &["--from-env"])
        .env("A", "see akv:///alpha")
        .outcome();
    let error = "A: the value contains a reference but is not one as a whole";
    assert_eq!((run.code, run.error()), (Some(CONFIG), Some(error)));
    assert_eq!(place.tree(), [""; 0]);
    assert_eq!(connections(&azure), 0);
}

//! The help: all of it as it was written, or what concerns one command.
//!
//! How the text is read: blocks stand apart by an empty line. One is a paragraph, which starts with the name of its
//! command, a heading with entries below it, or an example. An entry starts two columns in, and its other lines are
//! deeper. It concerns the commands of a mark like `(exec, write)`, else those that the parser knows: the mark is for
//! people, and is left out of the help of one command.

use super::option_table::{ALL, ASKING, READING, commands_with};

/// The help text, written by hand.
const HELP: &str = include_str!("help.txt");

/// The widest line.
const WIDTH: usize = 80;
/// Where the text of an option begins.
const COLUMN: usize = 26;

/// Those that become COMMAND, or look whether they could.
const STARTING: &[&str] = &["check", "exec"];
/// Who has an exit code of its own, where that is not every command.
const CODES: [(&str, &[&str]); 8] = [
    ("66", READING),
    ("69", ASKING),
    ("73", &["exec", "get", "install", "token", "write"]),
    ("76", ASKING),
    ("77", ASKING),
    ("126", STARTING),
    ("127", STARTING),
    ("128+N", &["exec", "get", "token", "write"]),
];

/// The help of one command, made of the same lines; or the whole help.
pub fn help(command: Option<&str>) -> String {
    let Some(command) = command else {
        return HELP.to_owned();
    };
    let mut blocks: Vec<String> = Vec::new();
    let mut examples: Vec<&str> = Vec::new();
    // Behind the first block, which says what the program is for.
    for block in HELP.trim_end().split("\n\n").skip(1) {
        let example = block.strip_prefix("Examples:\n").unwrap_or(block);
        if example.starts_with("  ") {
            let about = format!("akv-init {command} ");
            examples.extend(Some(example).filter(|example| example.contains(&about)));
            continue;
        }
        blocks.extend(match block.split_once(":\n  ") {
            Some((heading, _)) if !heading.contains('\n') => section(block, command),
            _ => {
                let whose = block.split(' ').next();
                (whose == Some(command)).then(|| block.to_owned())
            }
        });
    }
    let heading = match examples.len() {
        1 => "Example",
        _ => "Examples",
    };
    blocks.push(format!("{heading}:\n{}", examples.join("\n\n")));
    blocks.join("\n\n") + "\n"
}

/// A heading with the entries that concern the command, if there are any.
fn section(block: &str, command: &str) -> Option<String> {
    let (heading, rest) = block.split_once('\n')?;
    let heading = match heading.split_once(" (") {
        Some((words, mark)) if commands_of(mark).is_some() => format!("{words}:"),
        _ => heading.to_owned(),
    };
    if heading.starts_with("References") {
        return READING.contains(&command).then(|| block.to_owned());
    }
    let mut entries: Vec<String> = Vec::new();
    for line in rest.lines() {
        match entries.last_mut() {
            Some(entry) if line.starts_with("   ") => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    let entries: Vec<String> = entries
        .iter()
        .filter_map(|entry| as_said_to(command, entry))
        .collect();
    (!entries.is_empty()).then(|| format!("{heading}\n{}", entries.join("\n")))
}

/// An entry as it concerns the command, if it does.
fn as_said_to(command: &str, entry: &str) -> Option<String> {
    let mut words = entry.split_whitespace();
    let first = words.next()?;
    let kept = match first {
        "akv-init" => words.next() == Some(command),
        "Any" => command == "exec",
        _ if first.starts_with('-') => return option(command, entry),
        _ if first.starts_with("AKV_INIT_") => return Some(twins(command, entry)),
        _ if first.starts_with(|c: char| c.is_ascii_digit()) => {
            let known = CODES.iter().find(|(code, _)| *code == first);
            known.is_none_or(|(_, commands)| commands.contains(&command))
        }
        _ => ASKING.contains(&command),
    };
    kept.then(|| entry.to_owned())
}

/// An option, without its mark and with the command's own default.
fn option(command: &str, entry: &str) -> Option<String> {
    let mut names = entry
        .split([' ', ',', '[', '='])
        .filter(|word| word.starts_with('-'));
    let commands = names.next().and_then(commands_with).unwrap_or_default();
    // A name that is too long for its column has its text below it.
    let (name, text) = match entry.get(COLUMN - 2..COLUMN) == Some("  ") {
        true => entry.split_at(COLUMN),
        false => entry.split_once('\n').unwrap_or((entry, "")),
    };
    let text = text.trim_start();
    let marked = text
        .strip_prefix('(')
        .and_then(|text| text.split_once(") "));
    let (commands, unmarked) = match marked {
        Some((mark, rest)) => (commands_of(mark).unwrap_or(commands.to_vec()), rest),
        None => (commands.to_vec(), text),
    };
    if !commands.contains(&command) {
        return None;
    }
    let own = own_default(command, unmarked);
    Some(match own == text {
        true => entry.to_owned(),
        false => flow(&format!("{name:<COLUMN$}"), &own, COLUMN),
    })
}

/// `(default A; get, token: B)` as it is for one command.
fn own_default(command: &str, text: &str) -> String {
    let Some((before, rest)) = text.split_once("(default ") else {
        return text.to_owned();
    };
    let Some((list, behind)) = rest.split_once(')').filter(|(list, _)| list.contains(": ")) else {
        return text.to_owned();
    };
    let mut values = list.split("; ");
    let general = values.next().unwrap_or_default();
    let own = values.find_map(|value| {
        let (commands, value) = value.split_once(": ")?;
        commands_of(commands)?.contains(&command).then_some(value)
    });
    format!("{before}(default {}){behind}", own.unwrap_or(general))
}

/// The variables that stand for options, as far as the command has those.
fn twins(command: &str, entry: &str) -> String {
    const PREFIX: &str = "AKV_INIT";
    let text = entry.trim_start().trim_start_matches(PREFIX);
    let (names, rest) = text.split_once(": ").unwrap_or_default();
    let has = |name: &&str| {
        let name = name.split_whitespace().next().unwrap_or_default();
        let option = name.to_ascii_lowercase().replace('_', "-");
        commands_with(&format!("-{option}")).is_some_and(|commands| commands.contains(&command))
    };
    let names: Vec<&str> = names.split(',').map(str::trim).filter(has).collect();
    let text = format!("{PREFIX}{}: {rest}", names.join(", "));
    flow("  ", &text, 4)
}

/// The commands of a mark, or nothing where it is something else in parentheses.
fn commands_of(mark: &str) -> Option<Vec<&str>> {
    let names = mark.trim_end_matches([')', ':']).split(", ");
    names
        .map(|name| ALL.contains(&name).then_some(name))
        .collect()
}

/// Words in lines: behind `start`, and below it from a column on.
fn flow(start: &str, text: &str, column: usize) -> String {
    let mut lines = start.to_owned();
    let mut length = start.len();
    let mut is_first = true;
    for word in text.split_whitespace() {
        if is_first || length + 1 + word.len() <= WIDTH {
            let space = if is_first { "" } else { " " };
            lines.push_str(space);
            length += space.len();
        } else {
            lines.push_str(&format!("\n{:column$}", ""));
            length = column;
        }
        lines.push_str(word);
        length += word.len();
        is_first = false;
    }
    lines
}

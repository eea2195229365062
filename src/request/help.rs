//! The help: blocks of text for one command or for all. A block is left out if it concerns none of them.

use crate::request::option_table::{
    ALL_COMMANDS, AZURE_COMMANDS, CliOption, PROGRAM_COMMANDS, SECRET_COMMANDS, SECTIONS, Takes,
};

/// The maximum length of a line, in characters.
const MAX_WIDTH: usize = 80;
/// The column in which the text of an option begins, counted from 0.
const TEXT_COLUMN: usize = 26;

/// The help of one command: its arguments, its description and its examples.
struct CommandHelp {
    name: &'static str,
    arguments: &'static str,
    text: &'static str,
    examples: &'static [&'static str],
}

#[rustfmt::skip]
const COMMAND_HELPS: [CommandHelp; 6] = [
    CommandHelp { name: "exec", arguments: "[--] COMMAND [ARG...]", text: include_str!("help/exec.txt"), examples: &[
        "  export MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-password\n  exec akv-init exec -- /opt/mssql/bin/sqlservr\n",
        "  PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net \\\n    \
             akv-init exec -- psql -h pg1.postgres.database.azure.com -U app postgres\n",
    ] },
    CommandHelp { name: "write", arguments: "DIR", text: include_str!("help/write.txt"), examples: &[
        "  akv-init write --vault prod-kv --secret db-password=sql-app /run/secrets\n",
    ] },
    CommandHelp { name: "check", arguments: "[--] [COMMAND [ARG...]]", text: include_str!("help/check.txt"), examples: &[
        "  kubectl exec POD -- /akv-init check -- /opt/mssql/bin/sqlservr\n",
    ] },
    CommandHelp { name: "get", arguments: "REF", text: include_str!("help/get.txt"), examples: &[
        "  akv-init get akv://prod-kv/sql-sa-password\n",
    ] },
    CommandHelp { name: "token", arguments: "[RESOURCE | --scope SCOPE]", text: include_str!("help/token.txt"), examples: &[
        "  akv-init token https://database.windows.net/\n",
    ] },
    CommandHelp { name: "install", arguments: "DIR", text: include_str!("help/install.txt"), examples: &[
        "  akv-init install /shared\n",
    ] },
];

/// Each exit code, with the commands that can end with it.
#[rustfmt::skip]
const EXIT_CODES: [(&str, &[&str]); 12] = [
    ("  64     usage          an unknown option, a missing or unexpected argument\n", ALL_COMMANDS),
    ("  66     not found      no such secret, version or field; disabled, expired\n", SECRET_COMMANDS),
    ("  69     unavailable    no response before the deadline; a restart may help\n", AZURE_COMMANDS),
    ("  70     internal       a bug in akv-init\n", ALL_COMMANDS),
    ("  73     cannot create  DIR, standard output or memory cannot be written\n", ALL_COMMANDS),
    ("  76     protocol       unexpected response, certificate that is not trusted\n", AZURE_COMMANDS),
    ("  77     denied         no access, no such identity, firewall\n", AZURE_COMMANDS),
    ("  78     config         malformed reference, two sources, incomplete credential\n", ALL_COMMANDS),
    ("  126                   COMMAND cannot be executed\n", PROGRAM_COMMANDS),
    ("  127                   COMMAND not found\n", PROGRAM_COMMANDS),
    ("  128+N                 stopped by signal N before it was done\n", AZURE_COMMANDS),
    ("  Any other code is that of COMMAND; with --init 128+N if signal N ended it.\n", &["exec"]),
];

/// The settings that every command reads from the environment.
const SETTINGS_HELP: &str =
    "  AKV_INIT_...: the same settings as the options that name them in brackets. An
    option takes precedence over AKV_INIT_..., and that over AZURE_.... An empty
    variable counts as unset.
";

/// The help of one command, or of all commands (`None`).
pub fn help(command: Option<&str>) -> String {
    let concerns = |commands: &[&str]| command.is_none_or(|command| commands.contains(&command));
    let helps = COMMAND_HELPS.iter();
    let helps: Vec<&CommandHelp> = helps.filter(|help| concerns(&[help.name])).collect();
    let mut blocks = Vec::new();
    let mut usage = "Usage:\n".to_owned();
    for help in &helps {
        let (name, arguments) = (help.name, help.arguments);
        usage.push_str(&format!("  akv-init {name} [OPTIONS] {arguments}\n"));
    }
    if command.is_none() {
        blocks.push(format!(
            "akv-init {}.\n",
            env!("CARGO_PKG_DESCRIPTION").replacen('S', "s", 1)
        ));
        usage.push_str(&format!(
            "  akv-init [{}] --help\n  akv-init --version\n",
            ALL_COMMANDS.join(" | ")
        ));
    }
    blocks.push(usage);
    blocks.extend(helps.iter().map(|help| help.text.to_owned()));
    if concerns(SECRET_COMMANDS) {
        let many = match concerns(&["exec", "write", "check"]) {
            true => include_str!("help/many.txt"),
            false => "",
        };
        blocks.push(format!("{}{many}", include_str!("help/references.txt")));
    }
    let sections = SECTIONS.iter();
    blocks.extend(sections.filter_map(|(heading, options)| section(heading, options, command)));
    let azure_variables = match concerns(AZURE_COMMANDS) {
        true => include_str!("help/environment.txt"),
        false => "",
    };
    blocks.push(format!("Environment:\n{SETTINGS_HELP}{azure_variables}"));
    let exit_codes = EXIT_CODES.iter().filter(|(_, commands)| concerns(commands));
    let exit_codes: String = exit_codes.map(|(line, _)| *line).collect();
    blocks.push(format!("Exit codes:\n{exit_codes}"));
    let examples = helps.iter().flat_map(|help| help.examples);
    let examples: Vec<&str> = examples.copied().collect();
    let plural = if examples.len() == 1 { "" } else { "s" };
    blocks.push(format!("Example{plural}:\n{}", examples.join("\n")));
    blocks.join("\n")
}

/// The help of the options under one heading, for one command, or for all (`None`). `None` is returned if that command
/// has none of the options. In the help of all commands, an option of fewer than four commands is followed by their
/// names; if this would add the same names to every option, they follow the heading instead.
fn section(heading: &str, options: &'static [CliOption], command: Option<&str>) -> Option<String> {
    let concerns =
        |option: &&CliOption| command.is_none_or(|command| option.commands.contains(&command));
    let options: Vec<&CliOption> = options.iter().filter(concerns).collect();
    let command_note = |option: &CliOption| match command.is_none() && option.commands.len() < 4 {
        true => option.commands.join(", "),
        false => String::new(),
    };
    let first_note = command_note(options.first()?);
    let is_uniform = options
        .iter()
        .all(|option| command_note(option) == first_note);
    let mut block = match is_uniform && !first_note.is_empty() {
        true => format!("{heading} ({first_note}):\n"),
        false => format!("{heading}:\n"),
    };
    for option in options {
        let note = command_note(option);
        let note = if is_uniform { "" } else { &note };
        block.push_str(&entry(option, command, note));
    }
    Some(block)
}

/// The help of one option: name, value, description, default, variable, choices. `command` is the command whose help
/// this is; `None` in the help of all commands. `command_note` lists the commands that have the option, or is empty.
fn entry(option: &CliOption, command: Option<&str>, command_note: &str) -> String {
    let short = option.short.map(|short| format!("{short}, "));
    let short = short.unwrap_or_default();
    let (value, repeat_note, variable_note) = match option.takes {
        Takes::Nothing => (String::new(), "", "=true"),
        Takes::Optional(value) => (format!("[={value}]"), "", "=true"),
        Takes::Value(value) => (format!(" {value}"), "", ""),
        // A prefix may hold a comma.
        Takes::Values(value) if option.name == "--from" => {
            (format!(" {value}"), "repeatable", ", separated by spaces")
        }
        Takes::Values(value) => (format!(" {value}"), "repeatable", ", comma-separated"),
    };
    let mut text = match (command_note, repeat_note) {
        ("", "") => String::new(),
        ("", note) | (note, "") => format!("({note}) "),
        _ => format!("({command_note}; {repeat_note}) "),
    };
    text.push_str(option.help);
    let defaults = option
        .defaults
        .iter()
        .filter_map(|(commands, default)| match command {
            None => Some(format!("{default} for {}", commands.join(" and "))),
            Some(command) => commands.contains(&command).then(|| (*default).to_owned()),
        });
    let defaults: Vec<String> = defaults.collect();
    if !defaults.is_empty() {
        text.push_str(&format!(" (default {})", defaults.join(", ")));
    }
    if !option.variable.is_empty() {
        text.push_str(&format!(" [{}{variable_note}]", option.variable));
    }
    let mut entry = wrap(
        &format!("  {short}{}{value}", option.name),
        TEXT_COLUMN,
        &text,
    );
    let widths = option.choices.iter().map(|(value, _)| value.len());
    let width = widths.max().unwrap_or_default();
    for (value, meaning) in option.choices {
        entry.push_str(&wrap(&format!("{:28}{value}", ""), 30 + width, meaning));
    }
    entry
}

/// Wraps text into lines that begin at `column`. The first line follows `start`, if there is room for two spaces
/// between them.
fn wrap(start: &str, column: usize, text: &str) -> String {
    let mut wrapped = match start.len() + 2 > column {
        true => format!("{start}\n{:column$}", ""),
        false => format!("{start:column$}"),
    };
    let mut length = column;
    for word in text.split_whitespace() {
        if length + 1 + word.len() > MAX_WIDTH {
            wrapped.push_str(&format!("\n{:column$}", ""));
            length = column;
        } else if length > column {
            wrapped.push(' ');
            length += 1;
        }
        wrapped.push_str(word);
        length += word.len();
    }
    wrapped + "\n"
}

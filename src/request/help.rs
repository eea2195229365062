//! The help: blocks of text, each with the commands that it concerns, put together for one command or for all.

use crate::request::option_table::{ALL, CliOption, FETCHING, READING, SECTIONS, STARTING, Takes};

/// The widest line.
const WIDTH: usize = 80;
/// Where the text of an option begins.
const COLUMN: usize = 26;

/// One command: its arguments, its description and its examples.
struct Command {
    name: &'static str,
    arguments: &'static str,
    text: &'static str,
    examples: &'static [&'static str],
}

#[rustfmt::skip]
const COMMANDS: [Command; 6] = [
    Command { name: "exec", arguments: "[--] COMMAND [ARG...]", text: include_str!("help/exec.txt"), examples: &[
        "  export MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-password\n  exec akv-init exec -- /opt/mssql/bin/sqlservr\n",
        "  PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net \\\n    \
             akv-init exec -- psql -h pg1.postgres.database.azure.com -U app postgres\n",
    ] },
    Command { name: "write", arguments: "DIR", text: include_str!("help/write.txt"), examples: &[
        "  akv-init write --vault prod-kv --secret db-password=sql-app /run/secrets\n",
    ] },
    Command { name: "check", arguments: "[--] [COMMAND [ARG...]]", text: include_str!("help/check.txt"), examples: &[
        "  kubectl exec POD -- /akv-init check -- /opt/mssql/bin/sqlservr\n",
    ] },
    Command { name: "get", arguments: "REF", text: include_str!("help/get.txt"), examples: &[
        "  akv-init get akv://prod-kv/sql-sa-password\n",
    ] },
    Command { name: "token", arguments: "[RESOURCE | --scope SCOPE]", text: include_str!("help/token.txt"), examples: &[
        "  akv-init token https://database.windows.net/\n",
    ] },
    Command { name: "install", arguments: "DIR", text: include_str!("help/install.txt"), examples: &[
        "  akv-init install /shared\n",
    ] },
];

/// Each exit code, with the commands that can end with it.
#[rustfmt::skip]
const EXIT_CODES: [(&str, &[&str]); 12] = [
    ("  64     usage          an unknown option, a missing or unexpected argument\n", ALL),
    ("  66     not found      no such secret or version, or it is disabled\n", READING),
    ("  69     unavailable    no response before the deadline; a restart may help\n", FETCHING),
    ("  70     internal       a bug in akv-init\n", ALL),
    ("  73     cannot create  DIR, standard output or memory cannot be written\n", PRODUCING),
    ("  76     protocol       unexpected response, certificate that is not trusted\n", FETCHING),
    ("  77     denied         no access, no such identity, firewall\n", FETCHING),
    ("  78     config         malformed reference, two sources, incomplete credential\n", ALL),
    ("  126                   COMMAND cannot be executed\n", STARTING),
    ("  127                   COMMAND not found\n", STARTING),
    ("  128+N                 stopped by signal N before it was done\n", &["exec", "write", "get", "token"]),
    ("  Any other code is that of COMMAND; with --init 128+N if signal N ended it.\n", &["exec"]),
];

/// The commands that have an output besides a report.
const PRODUCING: &[&str] = &["exec", "write", "get", "token", "install"];

/// What every command reads from the environment.
const OWN_VARIABLES: &str =
    "  AKV_INIT_...: the same settings as the options that name them in brackets. An
    option takes precedence over AKV_INIT_..., and that over AZURE_.... An empty
    variable counts as unset.
";

/// The help of one command, or of all.
pub fn help(command: Option<&str>) -> String {
    let concerns = |commands: &[&str]| command.is_none_or(|command| commands.contains(&command));
    let commands = COMMANDS.iter().filter(|known| concerns(&[known.name]));
    let commands: Vec<&Command> = commands.collect();
    let mut blocks = Vec::new();
    let mut usage = "Usage:\n".to_owned();
    for known in &commands {
        let (name, arguments) = (known.name, known.arguments);
        usage.push_str(&format!("  akv-init {name} [OPTIONS] {arguments}\n"));
    }
    if command.is_none() {
        blocks.push(format!(
            "akv-init {}.\n",
            env!("CARGO_PKG_DESCRIPTION").replacen('S', "s", 1)
        ));
        usage.push_str(&format!(
            "  akv-init [{}] --help\n  akv-init --version\n",
            ALL.join(" | ")
        ));
    }
    blocks.push(usage);
    blocks.extend(commands.iter().map(|command| command.text.to_owned()));
    if concerns(READING) {
        blocks.push(include_str!("help/references.txt").to_owned());
    }
    let sections = SECTIONS.iter();
    blocks.extend(sections.filter_map(|(heading, options)| section(heading, options, command)));
    let azure = match concerns(FETCHING) {
        true => include_str!("help/environment.txt"),
        false => "",
    };
    blocks.push(format!("Environment:\n{OWN_VARIABLES}{azure}"));
    let codes = EXIT_CODES.iter().filter(|(_, commands)| concerns(commands));
    let codes: String = codes.map(|(line, _)| *line).collect();
    blocks.push(format!("Exit codes:\n{codes}"));
    let examples = commands.iter().flat_map(|command| command.examples);
    let examples: Vec<&str> = examples.copied().collect();
    let plural = if examples.len() == 1 { "" } else { "s" };
    blocks.push(format!("Example{plural}:\n{}", examples.join("\n")));
    blocks.join("\n")
}

/// A heading with the options of one command, or of all. In the whole help an option of few commands names them; so does
/// the heading, if its options are all of the same commands.
fn section(heading: &str, options: &'static [CliOption], command: Option<&str>) -> Option<String> {
    let concerns =
        |option: &&CliOption| command.is_none_or(|command| option.commands.contains(&command));
    let own: Vec<&CliOption> = options.iter().filter(concerns).collect();
    let few = |option: &CliOption| match command.is_none() && option.commands.len() < 4 {
        true => option.commands.join(", "),
        false => String::new(),
    };
    let first = few(own.first()?);
    let is_uniform = own.iter().all(|option| few(option) == first);
    let mut block = match is_uniform && !first.is_empty() {
        true => format!("{heading} ({first}):\n"),
        false => format!("{heading}:\n"),
    };
    for option in own {
        let commands = few(option);
        let commands = if is_uniform { "" } else { &commands };
        block.push_str(&entry(option, command, commands));
    }
    Some(block)
}

/// One option: its name, what it takes, its text, and the values that have a text each.
fn entry(option: &CliOption, command: Option<&str>, commands: &str) -> String {
    let short = option.short.map(|short| format!("{short}, "));
    let short = short.unwrap_or_default();
    let (value, kind, suffix) = match option.takes {
        Takes::Nothing => (String::new(), "", "=true"),
        Takes::Optional(value) => (format!("[={value}]"), "", ""),
        Takes::Value(value) => (format!(" {value}"), "", ""),
        Takes::Values(value) => (format!(" {value}"), "repeatable", ", comma-separated"),
    };
    let mut text = match (commands, kind) {
        ("", "") => String::new(),
        ("", mark) | (mark, "") => format!("({mark}) "),
        (commands, kind) => format!("({commands}; {kind}) "),
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
        text.push_str(&format!(" [{}{suffix}]", option.variable));
    }
    let mut entry = fold(&format!("  {short}{}{value}", option.name), COLUMN, &text);
    let widths = option.values.iter().map(|(value, _)| value.len());
    let width = widths.max().unwrap_or_default();
    for (value, meaning) in option.values {
        entry.push_str(&fold(&format!("{:28}{value}", ""), 30 + width, meaning));
    }
    entry
}

/// Text in lines that start at a column, the first of them after `start` if that leaves two columns free.
fn fold(start: &str, column: usize, text: &str) -> String {
    let mut folded = match start.len() + 2 > column {
        true => format!("{start}\n{:column$}", ""),
        false => format!("{start:column$}"),
    };
    let mut length = column;
    for word in text.split_whitespace() {
        if length + 1 + word.len() > WIDTH {
            folded.push_str(&format!("\n{:column$}", ""));
            length = column;
        } else if length > column {
            folded.push(' ');
            length += 1;
        }
        folded.push_str(word);
        length += word.len();
    }
    folded + "\n"
}

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
    description: &'static str,
    examples: &'static [&'static str],
}

const COMMANDS: [Command; 6] = [
    Command {
        name: "exec",
        arguments: "[--] COMMAND [ARG...]",
        description: include_str!("help/exec.txt"),
        examples: &[
            "  export MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-password\n  \
               exec akv-init exec -- /opt/mssql/bin/sqlservr\n",
            "  PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net \\\n    \
               akv-init exec -- psql -h pg1.postgres.database.azure.com -U app postgres\n",
        ],
    },
    Command {
        name: "write",
        arguments: "DIR",
        description: include_str!("help/write.txt"),
        examples: &["  akv-init write --vault prod-kv --secret db-password=sql-app /run/secrets\n"],
    },
    Command {
        name: "check",
        arguments: "[--] [COMMAND [ARG...]]",
        description: include_str!("help/check.txt"),
        examples: &["  kubectl exec POD -- /akv-init check -- /opt/mssql/bin/sqlservr\n"],
    },
    Command {
        name: "get",
        arguments: "REF",
        description: include_str!("help/get.txt"),
        examples: &["  akv-init get akv://prod-kv/sql-sa-password\n"],
    },
    Command {
        name: "token",
        arguments: "[RESOURCE | --scope SCOPE]",
        description: include_str!("help/token.txt"),
        examples: &["  akv-init token https://database.windows.net/\n"],
    },
    Command {
        name: "install",
        arguments: "DIR",
        description: include_str!("help/install.txt"),
        examples: &["  akv-init install /shared\n"],
    },
];

/// The commands that end with each exit code.
const EXIT_CODES: [(&str, &[&str]); 12] = [
    (
        "  64     usage          an unknown option, a missing or unexpected argument\n",
        ALL,
    ),
    (
        "  66     not found      no such secret or version, or it is disabled\n",
        READING,
    ),
    (
        "  69     unavailable    no response before the deadline; a restart may help\n",
        FETCHING,
    ),
    ("  70     internal       a bug in akv-init\n", ALL),
    (
        "  73     cannot create  DIR, standard output or memory cannot be written\n",
        &["exec", "write", "get", "token", "install"],
    ),
    (
        "  76     protocol       unexpected response, certificate that is not trusted\n",
        FETCHING,
    ),
    (
        "  77     denied         no access, no such identity, firewall\n",
        FETCHING,
    ),
    (
        "  78     config         malformed reference, two sources, incomplete credential\n",
        ALL,
    ),
    (
        "  126                   COMMAND cannot be executed\n",
        STARTING,
    ),
    ("  127                   COMMAND not found\n", STARTING),
    (
        "  128+N                 stopped by signal N before it was done\n",
        &["exec", "write", "get", "token"],
    ),
    (
        "  Any other code is that of COMMAND; with --init 128+N if signal N ended it.\n",
        &["exec"],
    ),
];

/// The help of one command, or of all.
pub fn help(command: Option<&str>) -> String {
    let concerns = |commands: &[&str]| command.is_none_or(|command| commands.contains(&command));
    let shown = || COMMANDS.iter().filter(|shown| concerns(&[shown.name]));
    let mut blocks = Vec::new();
    if command.is_none() {
        blocks.push(
            "akv-init starts a container's real process with its Azure Key Vault secrets.\n"
                .to_owned(),
        );
    }
    let mut usage = "Usage:\n".to_owned();
    for Command {
        name, arguments, ..
    } in shown()
    {
        usage.push_str(&format!("  akv-init {name} [OPTIONS] {arguments}\n"));
    }
    if command.is_none() {
        usage.push_str(&format!(
            "  akv-init [{}] --help\n  akv-init --version\n",
            ALL.join(" | ")
        ));
    }
    blocks.push(usage);
    blocks.extend(shown().map(|shown| shown.description.to_owned()));
    if concerns(READING) {
        blocks.push(include_str!("help/references.txt").to_owned());
    }
    for (heading, options) in &SECTIONS {
        let own: Vec<&CliOption> = options
            .iter()
            .filter(|option| concerns(option.commands))
            .collect();
        let Some(first) = own.first() else {
            continue;
        };
        // A section of the same commands has one mark, in its heading.
        let is_uniform = own.iter().all(|option| option.commands == first.commands);
        let is_marked = |option: &CliOption| command.is_none() && option.commands.len() < 4;
        let mut block = match is_uniform && is_marked(first) {
            true => format!("{heading} ({}):\n", first.commands.join(", ")),
            false => format!("{heading}:\n"),
        };
        for option in own {
            block.push_str(&entry(option, command, !is_uniform && is_marked(option)));
        }
        blocks.push(block);
    }
    let mut environment = "Environment:\n".to_owned();
    environment.push_str(OWN_VARIABLES);
    if concerns(FETCHING) {
        environment.push_str(include_str!("help/environment.txt"));
    }
    blocks.push(environment);
    let codes = EXIT_CODES.iter().filter(|(_, commands)| concerns(commands));
    blocks.push("Exit codes:\n".to_owned() + &codes.map(|(line, _)| *line).collect::<String>());
    let examples: Vec<&str> = shown().flat_map(|shown| shown.examples).copied().collect();
    let heading = if examples.len() == 1 {
        "Example"
    } else {
        "Examples"
    };
    blocks.push(format!("{heading}:\n{}", examples.join("\n")));
    blocks.join("\n")
}

/// What every command reads from the environment.
const OWN_VARIABLES: &str =
    "  AKV_INIT_...: the same settings as the options that name them in brackets. An
    option takes precedence over AKV_INIT_..., and that over AZURE_.... An empty
    variable counts as unset.
";

/// One option: its name, what it takes, its text, and the values that have a text each.
fn entry(option: &CliOption, command: Option<&str>, is_marked: bool) -> String {
    let mut start = match option.short {
        Some(short) => format!("  {short}, {}", option.name),
        None => format!("  {}", option.name),
    };
    let (value, suffix) = match option.takes {
        Takes::Nothing => (String::new(), "=true"),
        Takes::Optional(value) => (format!("[={value}]"), ""),
        Takes::Value(value) => (format!(" {value}"), ""),
        Takes::Values(value) => (format!(" {value}"), ", comma-separated"),
    };
    start.push_str(&value);
    let commands = if is_marked {
        option.commands.join(", ")
    } else {
        String::new()
    };
    let mut text = match (option.takes, commands.as_str()) {
        (Takes::Values(_), "") => "(repeatable) ".to_owned(),
        (Takes::Values(_), commands) => format!("({commands}; repeatable) "),
        (_, "") => String::new(),
        (_, commands) => format!("({commands}) "),
    };
    text.push_str(option.help);
    let defaults = option.defaults.iter();
    let defaults = defaults.filter_map(|(commands, default)| match command {
        None => Some(format!("{default} for {}", commands.join(" and "))),
        Some(command) => commands.contains(&command).then(|| (*default).to_owned()),
    });
    let defaults: Vec<String> = defaults.collect();
    if !defaults.is_empty() {
        text.push_str(&format!(" (default {})", defaults.join(", ")));
    }
    if let Some(variable) = option.variable {
        text.push_str(&format!(" [{variable}{suffix}]"));
    }
    let mut entry = fold(&start, COLUMN, &text);
    let width = option
        .values
        .iter()
        .map(|(value, _)| value.len())
        .max()
        .unwrap_or_default();
    for (value, meaning) in option.values {
        let column = COLUMN + 2;
        entry.push_str(&fold(
            &format!("{:column$}{value}", ""),
            column + width + 2,
            meaning,
        ));
    }
    entry
}

/// Lines of text that start at a column, the first of them after `start` if that leaves two columns free.
fn fold(start: &str, column: usize, text: &str) -> String {
    let mut folded = String::new();
    let mut line = start.to_owned();
    if line.len() + 2 > column {
        folded = line + "\n";
        line = String::new();
    }
    line = format!("{line:column$}");
    for word in text.split_whitespace() {
        let is_first = line.len() == column;
        if !is_first && line.len() + 1 + word.len() > WIDTH {
            folded.push_str(&line);
            folded.push('\n');
            line = format!("{:column$}{word}", "");
        } else {
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    folded + &line + "\n"
}

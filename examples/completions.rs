//! The completions for shells, made from the table of options, so that the two cannot differ:
//!
//! ```sh
//! for shell in bash zsh fish; do
//!   cargo run --example completions -- $shell >completions/akv-init.$shell
//! done
//! ```
//!
//! After `--` each completes COMMAND as the shell does. `tests/completions.sh` tries them.

use std::fmt::Write as _;
use std::io::{self, Write as _};

#[allow(dead_code)] // The program uses the rest.
#[path = "../src/request/option_table.rs"]
mod option_table;

use option_table::{ALL_COMMANDS, CliOption, PROGRAM_COMMANDS, Takes, all_options};

/// What each command does, as in its help.
const DESCRIPTIONS: [(&str, &str); 6] = [
    ("exec", "become COMMAND with secrets in its environment"),
    ("write", "write secrets to files below DIR"),
    ("check", "test every step that exec depends on"),
    ("get", "print one secret"),
    ("token", "print an access token"),
    ("install", "copy akv-init into DIR"),
];

#[allow(dead_code)] // The tests include this file for the completions.
fn main() -> io::Result<()> {
    let shell = std::env::args().nth(1).unwrap_or_default();
    let completion = completion(&shell);
    let completion = completion.ok_or_else(|| io::Error::other("name bash, zsh or fish"))?;
    io::stdout().write_all(completion.as_bytes())
}

/// The completion for `bash`, `zsh` or `fish`.
pub fn completion(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn options_of(command: &str) -> impl Iterator<Item = &'static CliOption> {
    all_options().filter(move |option| option.commands.contains(&command))
}

/// The placeholder for an option's value, if it takes one.
fn placeholder(option: &CliOption) -> Option<&'static str> {
    match option.takes {
        Takes::Nothing => None,
        Takes::Optional(value) | Takes::Value(value) | Takes::Values(value) => Some(value),
    }
}

/// The values to choose from; of `json:FILE` the part before FILE.
fn choices(option: &CliOption) -> Vec<&'static str> {
    let choices = option.choices.iter();
    choices
        .map(|(value, _)| value.trim_end_matches("FILE"))
        .collect()
}

/// The help text up to the end of its first clause.
fn description(option: &CliOption) -> &'static str {
    let end = option.help.find([';', ':', '.', '(']);
    option.help[..end.unwrap_or(option.help.len())].trim_end()
}

fn head(shell: &str) -> String {
    format!(
        "# Completion of akv-init in {shell}. Made from the table of options by examples/completions.rs.\n"
    )
}

fn bash() -> String {
    let mut script = head("bash");
    script.push_str(
        r#"
_akv_init() {
  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} equals= i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
"#,
    );
    let commands = ALL_COMMANDS.join(" ");
    let _ = writeln!(
        script,
        "    COMPREPLY=($(compgen -W '{commands} --help --version' -- \"$word\"))\n    return\n  fi"
    );
    script.push_str(
        r#"  for ((i = 2; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      if ((i == COMP_CWORD - 1)); then
        COMPREPLY=($(compgen -c -- "$word"))
      else
        COMPREPLY=($(compgen -f -- "$word"))
      fi
      return
    fi
  done
  # bash takes the = of --option=value for a word.
  if [[ $word == = ]]; then
    word= equals=1
  elif [[ $option == = ]]; then
    option=${COMP_WORDS[COMP_CWORD - 2]} equals=1
  fi
  case $option in
"#,
    );
    let mut seen: Vec<&str> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for option in all_options() {
        let Some(value) = placeholder(option) else {
            continue;
        };
        if seen.contains(&option.name) {
            continue;
        }
        seen.push(option.name);
        let choices = choices(option).join(" ");
        let reply = match (value, choices.as_str()) {
            ("FILE", _) => "compgen -f".to_owned(),
            (_, "") => {
                others.push(option.name);
                continue;
            }
            _ => format!("compgen -W '{choices}'"),
        };
        let (condition, end) = match option.takes {
            Takes::Optional(_) => ("if [[ $equals ]]; then ", "; fi"),
            _ => ("", ""),
        };
        let _ = writeln!(
            script,
            "    {}) {condition}COMPREPLY=($({reply} -- \"$word\")); return{end} ;;",
            option.name
        );
    }
    let optional = |name: &&str| {
        all_options()
            .any(|option| option.name == *name && matches!(option.takes, Takes::Optional(_)))
    };
    let (optional, others): (Vec<&str>, Vec<&str>) = others.iter().partition(|name| optional(name));
    let _ = writeln!(script, "    {}) return ;;", others.join(" | "));
    let _ = writeln!(
        script,
        "    {}) if [[ $equals ]]; then return; fi ;;",
        optional.join(" | ")
    );
    script.push_str("  esac\n  case $command in\n");
    for command in ALL_COMMANDS {
        let names = options_of(command).flat_map(|option| [Some(option.name), option.short]);
        let mut names: Vec<&str> = names.flatten().collect();
        if PROGRAM_COMMANDS.contains(command) {
            names.push("--");
        }
        let _ = writeln!(script, "    {command}) set -- {} ;;", names.join(" "));
    }
    script.push_str(
        r#"    *) return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$*" -- "$word"))
  elif [[ $command == write || $command == install ]]; then
    COMPREPLY=($(compgen -d -- "$word"))
  fi
}
complete -o filenames -F _akv_init akv-init
"#,
    );
    script
}

fn zsh() -> String {
    // In a specification the brackets end a description and a colon ends a message.
    let escape = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('\'', "'\\''");
        text.replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:")
    };
    let mut script = format!("#compdef akv-init\n{}\n_akv_init() {{\n", head("zsh"));
    script.push_str("  local -a subcommands=(\n");
    for (command, description) in DESCRIPTIONS {
        let _ = writeln!(script, "    '{command}:{description}'");
    }
    script.push_str(
        "  )\n  if ((CURRENT == 2)); then\n    if [[ $PREFIX == -* ]]; then\n      \
         _arguments '(-h --help)'{-h,--help}'[print the help]' '(-V --version)'{-V,--version}'[print the version]'\n    \
         else\n      _describe command subcommands\n    fi\n    return\n  fi\n  local -i end=$words[(i)--]\n  if ((end < CURRENT)); then\n    shift $end words\n    ((CURRENT -= end))\n    \
         _normal\n    return\n  fi\n  ((CURRENT--))\n  shift words\n  case $words[1] in\n",
    );
    for command in ALL_COMMANDS {
        let _ = writeln!(script, "    {command}) _arguments -S \\");
        for option in options_of(command) {
            let mut value = String::new();
            if let Some(name) = placeholder(option) {
                let choices = choices(option).join(" ");
                let action = match (name, choices.as_str()) {
                    ("FILE", _) => "_files".to_owned(),
                    (_, "") => " ".to_owned(),
                    _ => format!("({})", choices.replace(':', "\\:")),
                };
                value = format!(":{}:{action}", escape(name));
            }
            let (repeat, equals) = match option.takes {
                Takes::Nothing => ("", ""),
                Takes::Optional(_) => {
                    value.insert(0, ':');
                    ("", "=-")
                }
                Takes::Value(_) => ("", "="),
                Takes::Values(_) => ("*", "="),
            };
            let text = escape(description(option));
            let names = [Some(option.name), option.short].into_iter().flatten();
            for name in names {
                let _ = writeln!(script, "      '{repeat}{name}{equals}[{text}]{value}' \\");
            }
        }
        let rest = match *command {
            "exec" | "check" => "'*::COMMAND:_normal'",
            "write" | "install" => "'1:DIR:_directories'",
            "get" => "'1:REF: '",
            _ => "'1:RESOURCE: '",
        };
        let _ = writeln!(script, "      {rest} ;;");
    }
    script.push_str("  esac\n}\n\nif [[ $funcstack[1] == _akv-init ]]; then\n  _akv_init \"$@\"\nelse\n  compdef _akv_init akv-init\nfi\n");
    script
}

fn fish() -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut script = head("fish");
    script.push_str(
        r#"
# Whether the command is one of these, and no -- stands before the cursor.
function __akv_init_is
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv; and not contains -- -- $words
end

complete -c akv-init -f
complete -c akv-init -n __fish_is_first_arg -s h -l help -d 'print the help'
complete -c akv-init -n __fish_is_first_arg -s V -l version -d 'print the version'
"#,
    );
    for (command, description) in DESCRIPTIONS {
        let description = quote(description);
        let _ = writeln!(
            script,
            "complete -c akv-init -n __fish_is_first_arg -a {command} -d {description}"
        );
    }
    for option in all_options() {
        let condition = format!("'__akv_init_is {}'", option.commands.join(" "));
        let _ = write!(
            script,
            "complete -c akv-init -n {condition} -l {}",
            option.name.trim_start_matches('-')
        );
        if let Some(short) = option.short {
            let _ = write!(script, " -s {}", short.trim_start_matches('-'));
        }
        let choices = choices(option);
        match (option.takes, placeholder(option)) {
            // With -r or -x fish would take the next argument for the value, too.
            (Takes::Nothing | Takes::Optional(_), _) => {}
            (_, Some("FILE")) => script.push_str(" -r -F"),
            _ => script.push_str(" -x"),
        }
        if !choices.is_empty() {
            let _ = write!(script, " -a {}", quote(&choices.join(" ")));
        }
        let _ = writeln!(script, " -d {}", quote(description(option)));
    }
    script.push_str(
        r#"complete -c akv-init -n '__akv_init_is write install' -x -a '(__fish_complete_directories)'
complete -c akv-init -n 'contains -- -- (commandline -opc)' -x -a '(__fish_complete_subcommand --commandline (string match -r -- "(?<=\s--\s).*" (commandline -cp)))'
"#,
    );
    script
}

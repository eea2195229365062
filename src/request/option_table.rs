//! The table of options: for each its name, value, commands, variable and help text. The parser and the help are both
//! made from it.

/// Every command.
pub const ALL_COMMANDS: &[&str] = &["exec", "write", "check", "get", "token", "install"];
/// The commands that send requests to Azure.
pub const AZURE_COMMANDS: &[&str] = &["exec", "write", "check", "get", "token"];
/// The commands that read secrets.
pub const SECRET_COMMANDS: &[&str] = &["exec", "write", "check", "get"];
/// The commands that take COMMAND, the program to start.
pub const PROGRAM_COMMANDS: &[&str] = &["exec", "check"];

/// Whether an option takes a value, and the placeholder for the value in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// An optional value, only after `=`. The next argument is never the value.
    Optional(&'static str),
    /// One value: the text after `=`, or else the next argument.
    Value(&'static str),
    /// Any number of values: the option can be repeated, each time with a value as in [`Takes::Value`].
    Values(&'static str),
}

use Takes::{Nothing, Optional, Value, Values};

/// An option of the command line.
pub struct CliOption {
    /// The long name, with its hyphens.
    pub name: &'static str,
    /// The short name, a hyphen and a letter; `None` if there is none.
    pub short: Option<&'static str>,
    /// Whether the option takes a value.
    pub takes: Takes,
    /// The commands that have the option.
    pub commands: &'static [&'static str],
    /// The variable that sets the option; empty if there is none.
    pub variable: &'static str,
    /// The help text, not yet wrapped into lines.
    pub help: &'static str,
    /// The defaults, each preceded by the commands that have it. A default that is the same for all commands is in
    /// `help` instead.
    pub defaults: &'static [(&'static [&'static str], &'static str)],
    /// The accepted values, each with a help text; empty if `help` describes the values.
    pub choices: &'static [(&'static str, &'static str)],
}

/// An option without a short name, without defaults and without choices.
const fn option(
    name: &'static str,
    takes: Takes,
    commands: &'static [&'static str],
    variable: &'static str,
    help: &'static str,
) -> CliOption {
    CliOption {
        name,
        short: None,
        takes,
        commands,
        variable,
        help,
        defaults: &[],
        choices: &[],
    }
}

/// All options, by the headings under which the help shows them.
#[rustfmt::skip] // It would put each field of an option on a line of its own.
pub static SECTIONS: [(&str, &[CliOption]); 7] = [
    ("Which secrets", &[
        option("--secret", Values("NAME[=REF]"), PROGRAM_COMMANDS, "",
            "put the secret into variable NAME; without =REF, the secret with that name in the default vault"),
        option("--secret", Values("NAME[=REF]"), &["write"], "",
            "put the secret into file NAME below DIR; without =REF, the secret with that name in the default vault"),
        option("--memfd", Values("NAME=REF"), PROGRAM_COMMANDS, "",
            "put the secret into an unnamed file in memory that COMMAND inherits, and the path of that file into \
             variable NAME: for programs that take NAME_FILE"),
        option("--memfd-mode", Value("MODE"), PROGRAM_COMMANDS, "AKV_INIT_MEMFD_MODE",
            "the permissions of these files (default 0444, since many entrypoints change the user); 0400 for programs \
             that refuse a key that others can read, such as ssh-add"),
        option("--from", Values("REF"), PROGRAM_COMMANDS, "AKV_INIT_FROM",
            "put each field of a JSON secret, or each of many secrets, into a variable: akv://VAULT/NAME?prefix=APP_ or \
             akv://VAULT/START*?prefix=APP_"),
        option("--from", Values("REF"), &["write"], "AKV_INIT_FROM",
            "put each field of a JSON secret, or each of many secrets, into a file: akv://VAULT/NAME or \
             akv://VAULT/START*"),
        option("--from-env", Nothing, &["write"], "",
            "also write every variable that is a reference, to a file with the name of the variable"),
        option("--vault", Value("VAULT"), SECRET_COMMANDS, "AKV_INIT_VAULT",
            "the default vault: a short name or a host"),
        option("--override", Nothing, PROGRAM_COMMANDS, "AKV_INIT_OVERRIDE",
            "let --secret and --memfd replace a variable that has a value or is a reference, and --from one that has a \
             value"),
        option("--literal", Values("NAME"), &["exec", "write", "check"], "AKV_INIT_LITERAL",
            "leave variable NAME as it is, even if it looks like a reference; names in AKV_INIT_LITERAL are added"),
        option("--unset", Values("NAME"), PROGRAM_COMMANDS, "AKV_INIT_UNSET",
            "remove variable NAME from the environment of COMMAND; names in AKV_INIT_UNSET are added"),
    ]),
    ("As the first process of a container", &[
        CliOption {
            choices: &[
                ("group", "the process group of COMMAND (the default)"),
                ("child", "COMMAND alone, which signals its own workers"),
            ],
            ..option("--init", Optional("RECIPIENT"), PROGRAM_COMMANDS, "AKV_INIT_INIT",
                "run COMMAND as a child, reap every orphan, and forward every signal to RECIPIENT")
        },
        option("--drain", Value("TIME"), PROGRAM_COMMANDS, "AKV_INIT_DRAIN",
            "with --init: how long the remaining processes may take to stop after COMMAND has ended (default 5s). \
             They get TERM, and KILL after TIME. 0 ends akv-init at once, without signalling them"),
    ]),
    ("Which files", &[
        CliOption {
            choices: &[
                ("files", "a file for each secret, with exactly its bytes (the default)"),
                ("dotenv:FILE", "NAME=VALUE for shells, systemd, Compose and python-dotenv"),
                ("k8s-env:FILE", "for fileKeyRef of Kubernetes"),
                ("json:FILE", "one JSON object"),
            ],
            ..option("--output", Values("OUTPUT"), &["write"], "",
                "each OUTPUT holds every secret. A value that a format cannot hold is an error (78) before anything \
                 is written")
        },
        option("--mode", Value("MODE"), &["write"], "",
            "the permissions of the files (default 0440). New directories get 0750, or 0755 if MODE lets others read"),
        option("--allow-loose-mode", Nothing, &["write"], "AKV_INIT_ALLOW_LOOSE_MODE",
            "only warn if a file system that ignores MODE, as a share may, gives files more permissions"),
        CliOption {
            choices: &[
                ("plain", "one file after the other (the default without --every); files of earlier runs that are no longer requested stay"),
                ("atomic", "all at once, like the kubelet: DIR/NAME is a link to ..data/NAME, and ..data is a link to \
                    a directory; files that are no longer requested are removed"),
            ],
            ..option("--layout", Value("LAYOUT"), &["write"], "", "how files are replaced")
        },
        option("--require-tmpfs", Nothing, &["write"], "", "fail unless DIR is in memory (by default a warning)"),
        option("--every", Value("TIME"), &["write"], "",
            "keep running, and refresh the files every TIME (at least 1m, such as 15m; varied by up to 10 %), and at once \
             on SIGHUP; with --layout atomic by default, and without --keep-existing. The first round fails as write does; when a later one fails, the \
             files stay as they are"),
        option("--keep-existing", Optional("AGE"), &["write"], "",
            "while Azure cannot be reached (69), keep the files of the last run that wrote the same files from the \
             same references, if that was at most AGE (such as 12h) ago. Never after Azure refused, and never with an \
             access token. Not with --from"),
    ]),
    ("Which identity", &[
        CliOption {
            choices: &[
                ("managed", "a managed identity of App Service, Container Apps, Azure Arc, a virtual machine or a \
                    node; in Kubernetes, the node's has to be requested"),
                ("workload", "workload identity, from AZURE_FEDERATED_TOKEN_FILE"),
                ("service-principal", "with a client secret or a certificate"),
                ("cli", "the account of the Azure CLI, on a laptop"),
            ],
            ..option("--identity", Value("KIND"), AZURE_COMMANDS, "AKV_INIT_IDENTITY",
                "the kind of identity; by default, the one that the environment names")
        },
        option("--client-id", Value("ID"), AZURE_COMMANDS, "AKV_INIT_CLIENT_ID",
            "the user-assigned identity or the application"),
        option("--object-id", Value("ID"), AZURE_COMMANDS, "AKV_INIT_OBJECT_ID", "a managed identity by its object id"),
        option("--resource-id", Value("ID"), AZURE_COMMANDS, "AKV_INIT_RESOURCE_ID",
            "a managed identity by its resource id"),
    ]),
    ("How long", &[
        CliOption {
            defaults: &[(&["exec", "write"], "120s"), (&["get", "token"], "15s"), (&["check"], "10s")],
            ..option("--timeout", Value("TIME"), AZURE_COMMANDS, "AKV_INIT_TIMEOUT",
                "from start to end: 90 or 90s, 2m, 1h; 0 makes one attempt at each request. check ignores the variable")
        },
        option("--wait-for-access", Value("TIME"), &["exec", "write", "get"], "AKV_INIT_WAIT_FOR_ACCESS",
            "wait up to TIME beyond --timeout while the vault denies access: a new role assignment takes up to 10 \
             minutes"),
        option("--wait-for-access", Value("TIME"), &["check", "token"], "AKV_INIT_WAIT_FOR_ACCESS",
            "accepted, without effect"),
        option("--throttle-timeout", Value("TIME"), &["exec", "write"], "AKV_INIT_THROTTLE_TIMEOUT",
            "from start to end while requests are throttled (429), if longer than --timeout (default 10m, or 0 if \
             --timeout or AKV_INIT_TIMEOUT is set)"),
        option("--throttle-timeout", Value("TIME"), &["check"], "AKV_INIT_THROTTLE_TIMEOUT",
            "accepted, without effect"),
    ]),
    ("Which Azure", &[
        option("--cloud", Value("CLOUD"), AZURE_COMMANDS, "AKV_INIT_CLOUD",
            "public, usgov or china: completes short names of vaults and selects the endpoint of Entra. By default \
             the cloud of AZURE_AUTHORITY_HOST, or public"),
        option("--allow-vault", Values("HOST[:PORT]"), SECRET_COMMANDS, "AKV_INIT_ALLOW_VAULT",
            "a host outside the domains of Azure that may get a token of the cloud. Any other such host has to name \
             the resource itself, which is accepted only within its own domain"),
        option("--vault-resource", Value("URL"), SECRET_COMMANDS, "AKV_INIT_VAULT_RESOURCE",
            "the resource of the token for hosts of --allow-vault"),
        option("--scope", Value("SCOPE"), &["token"], "", "RESOURCE followed by /.default"),
        option("--ca-file", Value("FILE"), AZURE_COMMANDS, "AKV_INIT_CA_FILE",
            "trust only the certificates in this PEM file"),
    ]),
    ("Other", &[
        option("--dry-run", Nothing, &["exec", "write"], "", "print the planned requests, and do nothing"),
        option("--format", Value("FORMAT"), &["check"], "",
            "text (the default), or json: one object for each line of the report"),
        option("--log-format", Value("FORMAT"), ALL_COMMANDS, "AKV_INIT_LOG_FORMAT",
            "text (the default), or json: one object per line on standard error, for log collectors"),
        CliOption {
            short: Some("-q"),
            ..option("--quiet", Nothing, ALL_COMMANDS, "AKV_INIT_QUIET",
                "leave out information, such as what akv-init waits for or what write has written. Warnings and errors stay")
        },
        CliOption {
            short: Some("-v"),
            ..option("--verbose", Nothing, ALL_COMMANDS, "AKV_INIT_VERBOSE",
                "log each step on standard error, never a secret")
        },
        CliOption { short: Some("-h"), ..option("--help", Nothing, ALL_COMMANDS, "", "print this help") },
        CliOption { short: Some("-V"), ..option("--version", Nothing, ALL_COMMANDS, "", "print the version") },
    ]),
];

/// All options. A name that occurs twice has different help texts for different commands.
pub fn all_options() -> impl Iterator<Item = &'static CliOption> {
    SECTIONS.iter().flat_map(|(_, options)| options.iter())
}

/// All variables that set an option.
pub fn setting_variables() -> impl Iterator<Item = &'static str> {
    all_options()
        .map(|option| option.variable)
        .filter(|variable| !variable.is_empty())
}

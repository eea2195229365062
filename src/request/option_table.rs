//! The table of options: name, value, commands, environment equivalent and help text of each in one row. The parser and
//! the help are both made from it.

/// Every command.
pub const ALL: &[&str] = &["exec", "write", "check", "get", "token", "install"];
/// The commands that send requests to Azure.
pub const FETCHING: &[&str] = &["exec", "write", "check", "get", "token"];
/// The commands that read secrets.
pub const READING: &[&str] = &["exec", "write", "check", "get"];
/// The commands that take COMMAND.
pub const STARTING: &[&str] = &["exec", "check"];

/// What an option takes, with the placeholder that the help shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value after `=`, or none: the next word is never its value.
    Optional(&'static str),
    /// A value: the next word, or the text after `=`.
    Value(&'static str),
    /// The same, repeatable.
    Values(&'static str),
}

use Takes::{Nothing, Optional, Value, Values};

/// One option.
pub struct CliOption {
    /// The name, with its hyphens.
    pub name: &'static str,
    /// The name with one hyphen and one letter.
    pub short: Option<&'static str>,
    /// What it takes.
    pub takes: Takes,
    /// The commands that have it.
    pub commands: &'static [&'static str],
    /// The variable with the same meaning; empty if there is none.
    pub variable: &'static str,
    /// The help text, not yet folded into lines.
    pub help: &'static str,
    /// The default of each group of commands, where they differ.
    pub defaults: &'static [(&'static [&'static str], &'static str)],
    /// Values with a help text each.
    pub values: &'static [(&'static str, &'static str)],
}

/// A row without a short name, defaults and values.
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
        values: &[],
    }
}

/// Every option, under the headings of the help.
#[rustfmt::skip] // A table: a row that is folded into one line for each cell cannot be read as one.
pub static SECTIONS: [(&str, &[CliOption]); 7] = [
    ("Which secrets", &[
        option("--secret", Values("NAME=REF"), STARTING, "", "put the secret into variable NAME"),
        option("--secret", Values("NAME=REF"), &["write"], "", "put the secret into file NAME below DIR"),
        option("--memfd", Values("NAME=REF"), STARTING, "",
            "put the secret into an unnamed file in memory that COMMAND inherits, and the path of that file into \
             variable NAME: for programs that take NAME_FILE"),
        option("--from-env", Nothing, &["write"], "",
            "also write every variable that is a reference, to a file with the name of the variable"),
        option("--vault", Value("VAULT"), READING, "AKV_INIT_VAULT", "the default vault: a short name or a host"),
        option("--override", Nothing, STARTING, "AKV_INIT_OVERRIDE",
            "let --secret and --memfd replace a variable that has a value or is a reference"),
        option("--literal", Values("NAME"), &["exec", "write", "check"], "",
            "leave variable NAME as it is, even if it looks like a reference"),
        option("--unset", Values("NAME"), STARTING, "", "remove variable NAME from the environment of COMMAND"),
    ]),
    ("As the first process of a container", &[
        CliOption {
            values: &[
                ("group", "the process group of COMMAND (the default)"),
                ("child", "COMMAND alone, which signals its own workers"),
            ],
            ..option("--init", Optional("RECIPIENT"), STARTING, "",
                "run COMMAND as a child, reap every orphan, and forward every signal to RECIPIENT")
        },
        option("--drain", Value("TIME"), STARTING, "",
            "with --init: how long the remaining processes may take to stop after COMMAND has ended (default 5s). \
             They get TERM, and KILL after TIME. 0 ends akv-init at once, without signalling them"),
    ]),
    ("Which files", &[
        CliOption {
            values: &[
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
        CliOption {
            values: &[
                ("plain", "one file after the other (the default); files of earlier runs that are no longer requested stay"),
                ("atomic", "all at once, like the kubelet: DIR/NAME is a link to ..data/NAME, and ..data is a link to \
                    a directory; files that are no longer requested are removed"),
            ],
            ..option("--layout", Value("LAYOUT"), &["write"], "", "how files are replaced")
        },
        option("--require-tmpfs", Nothing, &["write"], "", "fail unless DIR is in memory (by default a warning)"),
        option("--keep-existing", Optional("AGE"), &["write"], "",
            "while Azure cannot be reached (69), keep the files of the last run that wrote the same files from the \
             same references, if that was at most AGE (such as 12h) ago. Never after Azure refused, and never with an \
             access token"),
    ]),
    ("Which identity", &[
        CliOption {
            values: &[
                ("managed", "a managed identity of App Service, Container Apps, Azure Arc, a virtual machine or a \
                    node; in Kubernetes, the node's has to be requested"),
                ("workload", "workload identity, from AZURE_FEDERATED_TOKEN_FILE"),
                ("service-principal", "with a client secret or a certificate"),
                ("cli", "the account of the Azure CLI, on a laptop"),
            ],
            ..option("--identity", Value("KIND"), FETCHING, "AKV_INIT_IDENTITY",
                "the kind of identity; by default, the one that the environment names")
        },
        option("--client-id", Value("ID"), FETCHING, "AKV_INIT_CLIENT_ID",
            "the user-assigned identity or the application"),
        option("--object-id", Value("ID"), FETCHING, "AKV_INIT_OBJECT_ID", "a managed identity by its object id"),
        option("--resource-id", Value("ID"), FETCHING, "AKV_INIT_RESOURCE_ID", "a managed identity by its resource id"),
    ]),
    ("How long", &[
        CliOption {
            defaults: &[(&["exec", "write"], "120s"), (&["get", "token"], "15s"), (&["check"], "10s")],
            ..option("--timeout", Value("TIME"), FETCHING, "AKV_INIT_TIMEOUT",
                "from start to end: 90 or 90s, 2m, 1h; 0 makes one attempt at each request")
        },
        option("--wait-for-access", Value("TIME"), &["exec", "write", "get"], "AKV_INIT_WAIT_FOR_ACCESS",
            "wait up to TIME beyond --timeout while the vault denies access: a new role assignment takes up to 10 \
             minutes"),
        option("--wait-for-access", Value("TIME"), &["check", "token"], "AKV_INIT_WAIT_FOR_ACCESS",
            "accepted, without effect"),
    ]),
    ("Which Azure", &[
        option("--cloud", Value("CLOUD"), FETCHING, "AKV_INIT_CLOUD",
            "public, usgov or china: completes short names of vaults and selects the endpoint of Entra. By default \
             the cloud of AZURE_AUTHORITY_HOST, or public"),
        option("--allow-vault", Values("HOST[:PORT]"), READING, "AKV_INIT_ALLOW_VAULT",
            "a host outside the domains of Azure that may get a token of the cloud. Any other such host has to name \
             the resource itself, which is accepted only within its own domain"),
        option("--vault-resource", Value("URL"), READING, "AKV_INIT_VAULT_RESOURCE",
            "the resource of the token for hosts of --allow-vault"),
        option("--scope", Value("SCOPE"), &["token"], "", "RESOURCE followed by /.default"),
        option("--ca-file", Value("FILE"), FETCHING, "AKV_INIT_CA_FILE", "trust only the certificates in this PEM file"),
    ]),
    ("Other", &[
        option("--dry-run", Nothing, &["exec", "write"], "", "print the planned requests, and do nothing"),
        option("--format", Value("FORMAT"), &["check"], "",
            "text (the default), or json: one object for each line of the report"),
        option("--log-format", Value("FORMAT"), ALL, "AKV_INIT_LOG_FORMAT",
            "text (the default), or json: one object per line on standard error, for log collectors"),
        CliOption {
            short: Some("-v"),
            ..option("--verbose", Nothing, ALL, "AKV_INIT_VERBOSE", "log each step on standard error, never a secret")
        },
        CliOption { short: Some("-h"), ..option("--help", Nothing, ALL, "", "print this help") },
        CliOption { short: Some("-V"), ..option("--version", Nothing, ALL, "", "print the version") },
    ]),
];

/// Every row of the table.
pub fn options() -> impl Iterator<Item = &'static CliOption> {
    SECTIONS.iter().flat_map(|(_, options)| options.iter())
}

/// Every variable that is a setting.
pub fn settings() -> impl Iterator<Item = &'static str> {
    options()
        .map(|option| option.variable)
        .filter(|variable| !variable.is_empty())
}

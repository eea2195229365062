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
const WRITE: &[&str] = &["write"];

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
#[derive(Debug)]
pub struct CliOption {
    /// The name, with its hyphens.
    pub name: &'static str,
    /// The name with one hyphen and one letter.
    pub short: Option<&'static str>,
    /// What it takes.
    pub takes: Takes,
    /// The commands that have it.
    pub commands: &'static [&'static str],
    /// The variable with the same meaning.
    pub variable: Option<&'static str>,
    /// The help text, not yet folded into lines.
    pub help: &'static str,
    /// The default of each group of commands, where they differ.
    pub defaults: &'static [(&'static [&'static str], &'static str)],
    /// Values with a help text each.
    pub values: &'static [(&'static str, &'static str)],
}

impl CliOption {
    const fn new(
        name: &'static str,
        takes: Takes,
        commands: &'static [&'static str],
        help: &'static str,
    ) -> CliOption {
        CliOption {
            name,
            short: None,
            takes,
            commands,
            variable: None,
            help,
            defaults: &[],
            values: &[],
        }
    }

    const fn short(self, short: &'static str) -> CliOption {
        let short = Some(short);
        CliOption { short, ..self }
    }

    const fn variable(self, variable: &'static str) -> CliOption {
        let variable = Some(variable);
        CliOption { variable, ..self }
    }

    const fn values(self, values: &'static [(&'static str, &'static str)]) -> CliOption {
        CliOption { values, ..self }
    }
}

/// Every option, under the headings of the help.
pub static SECTIONS: [(&str, &[CliOption]); 7] = [
    (
        "Which secrets",
        &[
            CliOption::new(
                "--secret",
                Values("NAME=REF"),
                STARTING,
                "put the secret into variable NAME",
            ),
            CliOption::new(
                "--secret",
                Values("NAME=REF"),
                WRITE,
                "put the secret into file NAME below DIR",
            ),
            CliOption::new(
                "--memfd",
                Values("NAME=REF"),
                STARTING,
                "put the secret into an unnamed file in memory that COMMAND inherits, and the path of that file into \
                 variable NAME: for programs that take NAME_FILE",
            ),
            CliOption::new(
                "--from-env",
                Nothing,
                WRITE,
                "also write every variable that is a reference, to a file with the name of the variable",
            ),
            CliOption::new(
                "--vault",
                Value("VAULT"),
                READING,
                "the default vault: a short name or a host",
            )
            .variable("AKV_INIT_VAULT"),
            CliOption::new(
                "--override",
                Nothing,
                STARTING,
                "let --secret and --memfd replace a variable that has a value or is a reference",
            )
            .variable("AKV_INIT_OVERRIDE"),
            CliOption::new(
                "--literal",
                Values("NAME"),
                &["exec", "write", "check"],
                "leave variable NAME as it is, even if it looks like a reference",
            ),
            CliOption::new(
                "--unset",
                Values("NAME"),
                STARTING,
                "remove variable NAME from the environment of COMMAND",
            ),
        ],
    ),
    (
        "As the first process of a container",
        &[
            CliOption::new(
                "--init",
                Optional("RECIPIENT"),
                STARTING,
                "run COMMAND as a child, reap every orphan, and forward every signal to RECIPIENT",
            )
            .values(&[
                ("group", "the process group of COMMAND (the default)"),
                ("child", "COMMAND alone, which signals its own workers"),
            ]),
            CliOption::new(
                "--drain",
                Value("TIME"),
                STARTING,
                "with --init: how long the remaining processes may take to stop after COMMAND has ended (default 5s). \
                 They get TERM, and KILL after TIME. 0 ends akv-init at once, without signalling them",
            ),
        ],
    ),
    (
        "Which files",
        &[
            CliOption::new(
                "--output",
                Values("OUTPUT"),
                WRITE,
                "each OUTPUT holds every secret. A value that a format cannot hold is an error (78) before anything \
                 is written",
            )
            .values(&[
                (
                    "files",
                    "a file for each secret, with exactly its bytes (the default)",
                ),
                (
                    "dotenv:FILE",
                    "NAME=VALUE for shells, systemd, Compose and python-dotenv",
                ),
                ("k8s-env:FILE", "for fileKeyRef of Kubernetes"),
                ("json:FILE", "one JSON object"),
            ]),
            CliOption::new(
                "--mode",
                Value("MODE"),
                WRITE,
                "the permissions of the files (default 0440). New directories get 0750, or 0755 if MODE lets others \
                 read",
            ),
            CliOption::new("--layout", Value("LAYOUT"), WRITE, "how files are replaced").values(&[
                (
                    "plain",
                    "one file after the other (the default); files of earlier runs that are no longer named stay",
                ),
                (
                    "atomic",
                    "all at once, like the kubelet: DIR/NAME is a link to ..data/NAME, and ..data is a link to a \
                     directory; files that are no longer named are removed",
                ),
            ]),
            CliOption::new(
                "--require-tmpfs",
                Nothing,
                WRITE,
                "fail unless DIR is in memory (by default a warning)",
            ),
            CliOption::new(
                "--keep-existing",
                Optional("AGE"),
                WRITE,
                "while Azure cannot be reached (69), keep the files of the last run that wrote the same files from \
                 the same references, if that was at most AGE (such as 12h) ago. Never after Azure refused, and never \
                 with an access token",
            ),
        ],
    ),
    (
        "Which identity",
        &[
            CliOption::new(
                "--identity",
                Value("KIND"),
                FETCHING,
                "the kind of identity; by default, the one that the environment names",
            )
            .variable("AKV_INIT_IDENTITY")
            .values(&[
                (
                    "managed",
                    "a managed identity of App Service, Container Apps, Azure Arc, a virtual machine or a node; in \
                     Kubernetes, the node's has to be requested",
                ),
                (
                    "workload",
                    "workload identity, from AZURE_FEDERATED_TOKEN_FILE",
                ),
                (
                    "service-principal",
                    "with a client secret or a certificate",
                ),
                ("cli", "the account of the Azure CLI, on a laptop"),
            ]),
            CliOption::new(
                "--client-id",
                Value("ID"),
                FETCHING,
                "the user-assigned identity or the application",
            )
            .variable("AKV_INIT_CLIENT_ID"),
            CliOption::new(
                "--object-id",
                Value("ID"),
                FETCHING,
                "a managed identity by its object id",
            )
            .variable("AKV_INIT_OBJECT_ID"),
            CliOption::new(
                "--resource-id",
                Value("ID"),
                FETCHING,
                "a managed identity by its resource id",
            )
            .variable("AKV_INIT_RESOURCE_ID"),
        ],
    ),
    (
        "How long",
        &[
            CliOption {
                defaults: &[
                    (&["exec", "write"], "120s"),
                    (&["get", "token"], "15s"),
                    (&["check"], "10s"),
                ],
                ..CliOption::new(
                    "--timeout",
                    Value("TIME"),
                    FETCHING,
                    "from start to end: 90 or 90s, 2m, 1h; 0 makes one attempt at each request",
                )
            }
            .variable("AKV_INIT_TIMEOUT"),
            CliOption::new(
                "--wait-for-access",
                Value("TIME"),
                &["exec", "write", "get"],
                "wait up to TIME beyond --timeout while the vault denies access: a new role assignment takes up to 10 \
                 minutes",
            )
            .variable("AKV_INIT_WAIT_FOR_ACCESS"),
            CliOption::new(
                "--wait-for-access",
                Value("TIME"),
                &["check", "token"],
                "accepted, without effect",
            )
            .variable("AKV_INIT_WAIT_FOR_ACCESS"),
        ],
    ),
    (
        "Which Azure",
        &[
            CliOption::new(
                "--cloud",
                Value("CLOUD"),
                FETCHING,
                "public, usgov or china: completes short names of vaults and selects the endpoint of Entra. By \
                 default the cloud of AZURE_AUTHORITY_HOST, or public",
            )
            .variable("AKV_INIT_CLOUD"),
            CliOption::new(
                "--allow-vault",
                Values("HOST[:PORT]"),
                READING,
                "a host outside the domains of Azure that may get a token of the cloud. Any other such host has to \
                 name the resource itself, which is accepted only within its own domain",
            )
            .variable("AKV_INIT_ALLOW_VAULT"),
            CliOption::new(
                "--vault-resource",
                Value("URL"),
                READING,
                "the resource of the token for hosts of --allow-vault",
            )
            .variable("AKV_INIT_VAULT_RESOURCE"),
            CliOption::new(
                "--scope",
                Value("SCOPE"),
                &["token"],
                "RESOURCE followed by /.default",
            ),
            CliOption::new(
                "--ca-file",
                Value("FILE"),
                FETCHING,
                "trust only the certificates in this PEM file",
            )
            .variable("AKV_INIT_CA_FILE"),
        ],
    ),
    (
        "Other",
        &[
            CliOption::new(
                "--dry-run",
                Nothing,
                &["exec", "write"],
                "print the planned requests, and do nothing",
            ),
            CliOption::new(
                "--format",
                Value("FORMAT"),
                &["check"],
                "text (the default), or json: one object for each line of the report",
            ),
            CliOption::new(
                "--log-format",
                Value("FORMAT"),
                ALL,
                "text (the default), or json: one object per line on standard error, for log collectors",
            )
            .variable("AKV_INIT_LOG_FORMAT"),
            CliOption::new(
                "--verbose",
                Nothing,
                ALL,
                "log each step on standard error, never a secret",
            )
            .short("-v")
            .variable("AKV_INIT_VERBOSE"),
            CliOption::new("--help", Nothing, ALL, "print this help").short("-h"),
            CliOption::new("--version", Nothing, ALL, "print the version").short("-V"),
        ],
    ),
];

/// Every row of the table.
pub fn options() -> impl Iterator<Item = &'static CliOption> {
    SECTIONS.iter().flat_map(|(_, options)| options.iter())
}

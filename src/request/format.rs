//! Formats of files that hold several secrets, and the keys that each of them allows.

use crate::error::Error;

/// The format of a file that contains several secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Lines `NAME=VALUE`, which mean the same to shells, systemd, python-dotenv and Compose.
    Dotenv,
    /// One JSON object, which maps each key to its value.
    Json,
    /// Lines `NAME=VALUE` for the kubelet, which reads them for a `fileKeyRef`.
    K8sEnv,
}

/// Variables of bash and dash that do not keep an assigned value. Assigning to a read-only one ends the script,
/// counters and clocks change by themselves, and an integer variable evaluates the value as arithmetic, so that
/// `a[$(command)]` runs a command. Besides these, all that start with `BASH` are such variables.
/// <https://www.gnu.org/software/bash/manual/html_node/Bash-Variables.html>
const SPECIAL_SHELL_VARIABLES: [&str; 19] = [
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PIPESTATUS",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "_",
];

impl FileFormat {
    /// The name of the format on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FileFormat::Dotenv => "dotenv",
            FileFormat::Json => "json",
            FileFormat::K8sEnv => "k8s-env",
        }
    }

    /// Fails if a name cannot be a key (the name before a value) in a file of this format.
    pub fn check_key(self, key: &str) -> Result<(), Error> {
        let reason = match self {
            FileFormat::Dotenv if !is_identifier(key) => {
                "a key in a dotenv file may contain only letters, digits and `_`, and may not start with a digit"
            }
            FileFormat::Dotenv
                if SPECIAL_SHELL_VARIABLES.contains(&key) || key.starts_with("BASH") =>
            {
                "cannot be a key in a dotenv file: shells reserve this variable"
            }
            FileFormat::K8sEnv if !is_kubernetes_variable_name(key) => {
                "a key in a k8s-env file may contain only letters, digits, `_`, `-` and `.`, and may not start with a digit"
            }
            // The longest `key` of a `fileKeyRef`: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.
            FileFormat::K8sEnv if key.len() > 128 => {
                "a key in a k8s-env file may have at most 128 characters"
            }
            _ => return Ok(()),
        };
        let error = Error::config(reason).context(key);
        Err(error.hint("choose another name, or use --output files or --output json:FILE"))
    }
}

/// Whether a name has only letters, digits and `_`, at least one of these, and does not start with a digit.
pub fn is_identifier(name: &str) -> bool {
    is_kubernetes_variable_name(name) && !name.contains(['-', '.'])
}

/// Whether all versions of Kubernetes allow a variable to have this name. Newer versions allow more names:
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>.
fn is_kubernetes_variable_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.bytes().all(is_allowed) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}

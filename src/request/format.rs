//! Formats that hold several secrets in one file, and the keys that each of them allows.

use crate::error::Error;

/// A format of a file that holds several secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Read alike by shells, systemd, python-dotenv and Compose.
    Dotenv,
    /// One JSON object.
    Json,
    /// For a kubelet's `fileKeyRef`.
    K8sEnv,
}

/// Variables of bash and dash that do not keep an assigned value: some are read-only and end the script, some are counters
/// or clocks, and an integer evaluates its value, including `a[$(command)]`. Besides these, all that start with `BASH`.
/// <https://www.gnu.org/software/bash/manual/html_node/Bash-Variables.html>
const SHELL_VARIABLES: [&str; 19] = [
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

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Dotenv => "dotenv",
            Format::Json => "json",
            Format::K8sEnv => "k8s-env",
        }
    }

    /// Rejects a name that cannot be a key.
    pub fn check_name(self, name: &str) -> Result<(), Error> {
        let reason = match self {
            Format::Dotenv if !is_identifier(name) => {
                "a key in a dotenv file may contain only letters, digits and `_`, and may not start with a digit"
            }
            Format::Dotenv if SHELL_VARIABLES.contains(&name) || name.starts_with("BASH") => {
                "cannot be a key in a dotenv file: shells reserve this variable"
            }
            Format::K8sEnv if !is_kubernetes_name(name) => {
                "a key in a k8s-env file may contain only letters, digits, `_`, `-` and `.`, and may not start with a digit"
            }
            // `key` of `fileKeyRef`: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.
            Format::K8sEnv if name.len() > 128 => {
                "a key in a k8s-env file may have at most 128 characters"
            }
            _ => return Ok(()),
        };
        let error = Error::config(reason).context(name);
        Err(error.hint("choose another name, or use --output files or --output json:FILE"))
    }
}

/// Whether a name has only letters, digits and `_`, and does not start with a digit.
pub fn is_identifier(name: &str) -> bool {
    is_kubernetes_name(name) && !name.contains(['-', '.'])
}

/// Whether every version of Kubernetes allows a variable's name; newer ones allow more:
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>.
fn is_kubernetes_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.bytes().all(is_letter) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}

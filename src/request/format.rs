//! Formats that hold several secrets in one file, and the keys that each of them allows.

use crate::error::{Cause, Error};

/// How secrets are laid out in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a shell, systemd, python-dotenv and Compose alike.
    Dotenv,
    /// One JSON object.
    Json,
    /// For a kubelet's `fileKeyRef`.
    K8sEnv,
}

/// Variables of bash and dash that do not keep what a file assigns to them: some are read-only and end the script, some
/// count or tell the time, and an integer evaluates its value, `a[$(command)]` included. Besides these, all that start
/// with `BASH`. <https://www.gnu.org/software/bash/manual/html_node/Bash-Variables.html>
const SHELLS_OWN: [&str; 19] = [
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

/// `key` of `fileKeyRef`: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.
const K8S_KEY: usize = 128;

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Dotenv => "dotenv",
            Format::Json => "json",
            Format::K8sEnv => "k8s-env",
        }
    }

    /// Refuses a name that cannot be a key.
    pub fn check_name(self, name: &str) -> Result<(), Error> {
        let refused = |why: &str| {
            Error::new(Cause::Config, format!("{name}: {why}"))
                .hint("name it otherwise, or use --output files or --output json:FILE")
        };
        match self {
            Format::Dotenv if !is_identifier(name) => Err(refused(
                "a key in a dotenv file has letters, digits and `_` only, and no digit first",
            )),
            Format::Dotenv if SHELLS_OWN.contains(&name) || name.starts_with("BASH") => Err(
                refused("a shell keeps this variable for itself: no key in a dotenv file"),
            ),
            Format::K8sEnv if !is_kubernetes_name(name) => Err(refused(
                "a key in a k8s-env file has letters, digits, `_`, `-` and `.` only, and no digit first",
            )),
            Format::K8sEnv if name.len() > K8S_KEY => Err(refused(&format!(
                "a key in a k8s-env file has at most {K8S_KEY} characters"
            ))),
            _ => Ok(()),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    is_kubernetes_name(name) && !name.contains(['-', '.'])
}

/// A variable's name as every Kubernetes takes it; the newer ones take more:
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>.
fn is_kubernetes_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.bytes().all(is_letter) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}

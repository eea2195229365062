//! Secrets laid out in one file: `dotenv`, `k8s-env`, `json`.
//!
//! Whoever reads a format gets every value back byte for byte, or there is no file. No way of quoting is understood by
//! all that read a dotenv file, so each value is written in one that all of them agree on, and refused where there is
//! none. What they agree on was found by feeding them every short string of quotes, escapes and blanks;
//! `tests/formats.sh` repeats the part that matters. A refusal says nothing of the value, not even which rule it met.

use crate::failure::{Cause, Failure};
use crate::secret::Secret;

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

/// The kubelet reads lines with Go's `bufio.Scanner`, whose buffer of 64 KiB has to hold the line's end too
/// (<https://pkg.go.dev/bufio#MaxScanTokenSize>).
const K8S_LINE: usize = 64 * 1024 - 1;

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
    pub fn check_name(self, name: &str) -> Result<(), Failure> {
        let refused = |why: &str| {
            Failure::new(Cause::Config, format!("{name}: {why}"))
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

    /// The whole file, its entries in the order given. A value that the format cannot hold is an error that names the
    /// target.
    pub fn render(self, entries: &[(&str, &str)]) -> Result<Secret, Failure> {
        if self == Format::Json {
            return Ok(Secret::new(json(entries)));
        }
        let mut text = String::new();
        for (name, value) in entries {
            // Here too: behind a bad name, the rest of the line may be a command to a shell.
            self.check_name(name)?;
            let line = match self {
                Format::K8sEnv => k8s_env(name, value),
                _ => dotenv(name, value),
            };
            text += &line.ok_or_else(|| self.refuse(name))?;
        }
        Ok(Secret::new(text))
    }

    /// The same words for every value: which rule it met would tell what is in it.
    fn refuse(self, name: &str) -> Failure {
        let reader = match self {
            Format::K8sEnv => "the kubelet",
            _ => "every reader",
        };
        Failure::new(
            Cause::Config,
            format!(
                "{name}: the {} format cannot hold this value so that {reader} gets it back",
                self.name()
            ),
        )
        .hint("use --output files or --output json:FILE, which hold every value")
    }
}

/// `NAME='value'`, or `NAME="value"` with `\` before `\` and `"`:
///
/// | in the value | `'…'` | `"…"` | because |
/// |---|---|---|---|
/// | `'` | no | yes | the shells end it there; of `'\''` systemd makes `''` |
/// | `\\` | no | yes | python-dotenv halves them, also in single quotes |
/// | `$`, `` ` `` | yes | no | the shells expand them, and python-dotenv keeps the `\` that would forbid it |
/// | `\` at the end | no | no | Compose takes `\'` for a quote; python-dotenv before 1.2.3 takes `\\"` for one too |
/// | `${`, and then `}` | no | no | python-dotenv expands it in whatever quotes |
/// | CR | no | no | python-dotenv reads it as LF |
/// | U+FDD0 to U+FDEF, U+…FFFE, U+…FFFF | no | no | systemd drops the variable, and logs its value |
/// | NUL | no | no | it ends every string of an environment |
///
/// Everything else stands for itself in both, line ends included. Never without quotes: those a reader that knows none,
/// such as `docker run --env-file`, shall meet with the first secret, not with the first rotated one.
///
/// Readers: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02>,
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=>,
/// <https://docs.docker.com/reference/compose-file/services/#env_file-format>,
/// <https://github.com/theskumar/python-dotenv#file-format>
fn dotenv(name: &str, value: &str) -> Option<String> {
    let expands = value
        .split_once("${")
        .is_some_and(|(_, rest)| rest.contains('}'));
    if expands
        || value.ends_with('\\')
        || value.contains(['\r', '\0'])
        || value.contains(is_noncharacter)
    {
        return None;
    }
    if !value.contains('\'') && !value.contains(r"\\") {
        return Some(format!("{name}='{value}'\n"));
    }
    if !value.contains(['$', '`']) {
        let value = value.replace('\\', r"\\").replace('"', r#"\""#);
        return Some(format!("{name}=\"{value}\"\n"));
    }
    None
}

/// <https://www.unicode.org/faq/private_use.html#noncharacters>
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// `NAME='value'` and nothing else, as the kubelet wants it. It reads CR LF as LF, and an empty value as a key that is
/// not there. <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/>
fn k8s_env(name: &str, value: &str) -> Option<String> {
    if value.is_empty() || value.contains(['\'', '\0']) || value.contains("\r\n") {
        return None;
    }
    let text = format!("{name}='{value}'\n");
    let fits = text.lines().all(|line| line.len() <= K8S_LINE);
    fits.then_some(text)
}

/// One entry a line. By hand, since an object of serde_json is sorted.
fn json(entries: &[(&str, &str)]) -> String {
    let lines: Vec<String> = entries
        .iter()
        .map(|(name, value)| {
            let [name, value] = [name, value].map(|text| serde_json::Value::from(*text));
            format!("\n  {name}: {value}")
        })
        .collect();
    match lines.len() {
        0 => "{}\n".to_owned(),
        _ => format!("{{{}\n}}\n", lines.join(",")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    fn file(format: Format, entries: &[(&str, &str)]) -> String {
        format.render(entries).unwrap().expose().to_owned()
    }

    fn said(failure: Failure) -> [String; 2] {
        let error = anyhow::Error::from(failure);
        assert_eq!(failure::exit_code(&error), 78);
        [error.to_string(), failure::hint(&error).unwrap().to_owned()]
    }

    #[test]
    fn a_dotenv_value_stands_in_the_quotes_that_all_its_readers_understand() {
        for (value, text) in [
            ("", "''"),
            ("plain", "'plain'"),
            (" two  words\t", "' two  words\t'"),
            ("#~=!*%&;|<>()[]?", "'#~=!*%&;|<>()[]?'"),
            ("pa$$word`id`$(id)", "'pa$$word`id`$(id)'"),
            ("}${", "'}${'"),
            (r"a\b\n", r"'a\b\n'"),
            (r#"say "hi""#, r#"'say "hi"'"#),
            ("one\ntwo\n", "'one\ntwo\n'"),
            ("\u{feff}é\u{1}\u{7f}", "'\u{feff}é\u{1}\u{7f}'"),
            ("it's", r#""it's""#),
            (r#"it's "it""#, r#""it's \"it\"""#),
            (r"it's a\b", r#""it's a\\b""#),
            (r"a\\b", r#""a\\\\b""#),
            (r#"\\" "#, r#""\\\\\" ""#),
        ] {
            let entries = [("A", value), ("B_2", "b")];
            assert_eq!(
                file(Format::Dotenv, &entries),
                format!("A={text}\nB_2='b'\n")
            );
        }
    }

    #[test]
    fn a_value_that_its_readers_disagree_on_is_refused_in_words_that_say_nothing_of_it() {
        for (format, reader, values) in [
            (
                Format::Dotenv,
                "every reader",
                &[
                    "it's $5",
                    "it's `",
                    r"a\\$",
                    r"a\\`",
                    r"a\",
                    r"a\\",
                    r"it's\",
                    "${HOME}",
                    "a${b c}",
                    "a\rb",
                    "a\r\nb",
                    "a\0b",
                    "\u{fdd0}",
                    "a\u{10ffff}",
                ][..],
            ),
            (
                Format::K8sEnv,
                "the kubelet",
                &["", "it's", "a\r\nb", "a\0b"][..],
            ),
        ] {
            for value in values {
                let failure = format.render(&[("GOOD", "a"), ("BAD", value)]).unwrap_err();
                let message = format!(
                    "BAD: the {} format cannot hold this value so that {reader} gets it back",
                    format.name()
                );
                let hint = "use --output files or --output json:FILE, which hold every value";
                assert_eq!(said(failure), [message, hint.to_owned()], "{value:?}");
            }
        }
    }

    #[test]
    fn a_value_for_the_kubelet_stands_in_single_quotes() {
        let entries = [("A", "\\ \"$x\"\n\r#\n"), ("b-c.d", "${A}\\")];
        assert_eq!(
            file(Format::K8sEnv, &entries),
            "A='\\ \"$x\"\n\r#\n'\nb-c.d='${A}\\'\n"
        );
    }

    #[test]
    fn a_line_for_the_kubelet_fits_into_its_buffer() {
        for (longest, value) in [
            (65_529, "x".repeat(65_529)),
            (65_529, "x".repeat(65_530)),
            (65_535, format!("\n{}\n", "x".repeat(65_535))),
            (65_535, format!("\n{}\n", "x".repeat(65_536))),
        ] {
            let fits = value.trim_matches('\n').len() <= longest;
            assert_eq!(Format::K8sEnv.render(&[("ABC", &value)]).is_ok(), fits);
        }
    }

    #[test]
    fn json_holds_every_value_in_the_order_given() {
        let entries = [("b", "\"\\\0\r\n\u{ffff}é"), ("a.b/c", ""), ("a\"", "2")];
        let text = file(Format::Json, &entries);
        assert_eq!(
            text,
            "{\n  \"b\": \"\\\"\\\\\\u0000\\r\\n\u{ffff}é\",\n  \"a.b/c\": \"\",\n  \"a\\\"\": \"2\"\n}\n"
        );
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(entries.iter().all(|(name, value)| read[name] == *value));
        assert_eq!(file(Format::Json, &[]), "{}\n");
    }

    #[test]
    fn a_name_is_refused_that_is_no_key_of_the_format() {
        let long = "A".repeat(129);
        let hint = "name it otherwise, or use --output files or --output json:FILE";
        let dotenv = "a key in a dotenv file has letters, digits and `_` only, and no digit first";
        let shell = "a shell keeps this variable for itself: no key in a dotenv file";
        let k8s = "a key in a k8s-env file has letters, digits, `_`, `-` and `.` only, and no digit first";
        for (format, name, why) in [
            (Format::Dotenv, "", dotenv),
            (Format::Dotenv, "1A", dotenv),
            (Format::Dotenv, "tls.key", dotenv),
            (Format::Dotenv, "A-B", dotenv),
            (Format::Dotenv, "A B", dotenv),
            (Format::Dotenv, "É", dotenv),
            (Format::Dotenv, "A=$(id);B", dotenv),
            (Format::Dotenv, "A\n", dotenv),
            (Format::Dotenv, "_", shell),
            (Format::Dotenv, "RANDOM", shell),
            (Format::Dotenv, "BASHPID", shell),
            (Format::K8sEnv, "", k8s),
            (Format::K8sEnv, "1A", k8s),
            (Format::K8sEnv, "dir/tls.key", k8s),
            (Format::K8sEnv, "#A", k8s),
            (
                Format::K8sEnv,
                &long,
                "a key in a k8s-env file has at most 128 characters",
            ),
        ] {
            let expected = [format!("{name}: {why}"), hint.to_owned()];
            assert_eq!(said(format.check_name(name).unwrap_err()), expected);
            assert_eq!(said(format.render(&[(name, "v")]).unwrap_err()), expected);
        }
        for (format, name) in [
            (Format::Dotenv, "DB_PASSWORD"),
            (Format::Dotenv, "_a1"),
            (Format::Dotenv, "random"),
            (Format::K8sEnv, "tls.key"),
            (Format::K8sEnv, "-a_1"),
            (Format::K8sEnv, &long[1..]),
            (Format::Json, "dir/tls.key"),
        ] {
            format.check_name(name).unwrap();
        }
    }
}

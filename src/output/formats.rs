//! Secrets laid out in one file: `dotenv`, `k8s-env`, `json`.
//!
//! Every reader of a format gets each value back byte for byte, or no file is written. The readers of dotenv files do not
//! agree on the rules of quoting, so each value is written in quotes that all of them read alike, and refused where there
//! are none. The rules were found by giving them every short string of quotes, escapes and blanks; `tests/formats.sh`
//! repeats the relevant part. A refusal reveals nothing about the value, not even which rule it broke.

use crate::error::{Cause, Error};
use crate::request::format::Format;
use crate::secret::Secret;

/// The kubelet reads lines with Go's `bufio.Scanner`, whose buffer of 64 KiB has to hold the line's end too
/// (<https://pkg.go.dev/bufio#MaxScanTokenSize>).
const K8S_LINE: usize = 64 * 1024 - 1;

/// The content of a file, its entries in the order given. A value that the format cannot hold is an error that names the
/// target.
pub fn render(format: Format, entries: &[(&str, &str)]) -> Result<Secret, Error> {
    if format == Format::Json {
        return Ok(Secret::new(json(entries)));
    }
    let mut text = String::new();
    for (name, value) in entries {
        // Checked again: a shell may take what follows a malformed name for a command.
        format.check_name(name)?;
        let line = match format {
            Format::K8sEnv => k8s_env(name, value),
            _ => dotenv(name, value),
        };
        text += &line.ok_or_else(|| cannot_hold(format, name))?;
    }
    Ok(Secret::new(text))
}

/// The message is the same for every value: the rule would reveal a part of it.
fn cannot_hold(format: Format, name: &str) -> Error {
    let reason = match format {
        Format::K8sEnv => "the kubelet would not read it back unchanged",
        _ => "not all of its readers would read it back unchanged",
    };
    let format = format.name();
    let reason = format!("the {format} format cannot hold this value: {reason}");
    let error = Error::new(Cause::Config, reason).context(name);
    error.hint("use --output files or --output json:FILE, which can hold every value")
}

/// `NAME='value'`, or `NAME="value"` with `\` before `\` and `"`:
///
/// | in the value | `'…'` | `"…"` | because |
/// |---|---|---|---|
/// | `'` | no | yes | the shells end it there; of `'\''` systemd makes `''` |
/// | `\\` | no | yes | python-dotenv halves them, also in single quotes |
/// | `$`, `` ` `` | yes | no | the shells expand them, and python-dotenv keeps the `\` that prevents it |
/// | `\` at the end | no | no | Compose takes `\'` for a quote; python-dotenv before 1.2.3 takes `\\"` for one too |
/// | `${`, and then `}` | no | no | python-dotenv expands it in all quotes |
/// | CR | no | no | python-dotenv reads it as LF |
/// | U+FDD0 to U+FDEF, U+…FFFE, U+…FFFF | no | no | systemd drops the variable, and logs its value |
/// | NUL | no | no | it ends every string of an environment |
///
/// Everything else is literal in both, line ends included. Never without quotes: a reader that does not understand them,
/// such as `docker run --env-file`, must fail with the first secret and not with the first rotated one.
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

/// `NAME='value'`, the kubelet's only syntax. It reads CR LF as LF, and an empty value as a missing key. <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/>
fn k8s_env(name: &str, value: &str) -> Option<String> {
    if value.is_empty() || value.contains(['\'', '\0']) || value.contains("\r\n") {
        return None;
    }
    let text = format!("{name}='{value}'\n");
    let fits = text.lines().all(|line| line.len() <= K8S_LINE);
    fits.then_some(text)
}

/// One entry a line. Not a serde_json object, which would be sorted.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn file(format: Format, entries: &[(&str, &str)]) -> String {
        render(format, entries).unwrap().expose().to_owned()
    }

    #[test]
    fn dotenv_value_is_in_quotes_that_all_readers_understand() {
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
    fn value_that_readers_disagree_on_is_refused_without_revealing_it() {
        let dotenv = [
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
        ];
        let k8s_env = ["", "it's", "a\r\nb", "a\0b"];
        for (format, values) in [
            (Format::Dotenv, &dotenv[..]),
            (Format::K8sEnv, &k8s_env[..]),
        ] {
            let mut messages = BTreeSet::new();
            for value in values {
                let error = render(format, &[("GOOD", "a"), ("BAD", value)]).unwrap_err();
                assert_eq!(error.cause, Cause::Config, "{value:?}");
                assert!(error.hint.is_some() && error.context == ["BAD"]);
                messages.insert(error.to_string());
            }
            assert_eq!(messages.len(), 1, "{messages:?}");
        }
    }

    #[test]
    fn kubelet_value_is_in_single_quotes() {
        let entries = [("A", "\\ \"$x\"\n\r#\n"), ("b-c.d", "${A}\\")];
        assert_eq!(
            file(Format::K8sEnv, &entries),
            "A='\\ \"$x\"\n\r#\n'\nb-c.d='${A}\\'\n"
        );
    }

    #[test]
    fn kubelet_line_fits_into_its_buffer() {
        for (longest, value) in [
            (65_529, "x".repeat(65_529)),
            (65_529, "x".repeat(65_530)),
            (65_535, format!("\n{}\n", "x".repeat(65_535))),
            (65_535, format!("\n{}\n", "x".repeat(65_536))),
        ] {
            let fits = value.trim_matches('\n').len() <= longest;
            assert_eq!(render(Format::K8sEnv, &[("ABC", &value)]).is_ok(), fits);
        }
    }

    #[test]
    fn json_has_every_value_in_the_order_given() {
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
    fn name_that_is_not_a_valid_key_is_refused() {
        let long = "A".repeat(129);
        let dotenv = [
            "",
            "1A",
            "tls.key",
            "A-B",
            "A B",
            "É",
            "A=$(id);B",
            "A\n",
            "_",
            "RANDOM",
            "BASHPID",
        ];
        let k8s_env = ["", "1A", "dir/tls.key", "#A", &long];
        for (format, names) in [
            (Format::Dotenv, &dotenv[..]),
            (Format::K8sEnv, &k8s_env[..]),
        ] {
            for name in names {
                let error = format.check_name(name).unwrap_err();
                assert_eq!(error.cause, Cause::Config, "{name:?}");
                assert!(error.hint.is_some());
                assert!(render(format, &[(name, "v")]).is_err(), "{name:?}");
            }
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

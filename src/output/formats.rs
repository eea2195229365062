//! Secrets laid out in one file: `dotenv`, `k8s-env`, `json`.
//!
//! Whoever reads a format gets every value back byte for byte, or there is no file. No way of quoting is understood by
//! all that read a dotenv file, so each value is written in one that all of them agree on, and refused where there is
//! none. What they agree on was found by feeding them every short string of quotes, escapes and blanks;
//! `tests/formats.sh` repeats the part that matters. A refusal says nothing of the value, not even which rule it met.

use crate::error::{Cause, Error};
use crate::request::format::Format;
use crate::secret::Secret;

/// The kubelet reads lines with Go's `bufio.Scanner`, whose buffer of 64 KiB has to hold the line's end too
/// (<https://pkg.go.dev/bufio#MaxScanTokenSize>).
const K8S_LINE: usize = 64 * 1024 - 1;

/// The whole file, its entries in the order given. A value that the format cannot hold is an error that names the
/// target.
pub fn render(format: Format, entries: &[(&str, &str)]) -> Result<Secret, Error> {
    if format == Format::Json {
        return Ok(Secret::new(json(entries)));
    }
    let mut text = String::new();
    for (name, value) in entries {
        // Here too: behind a bad name, the rest of the line may be a command to a shell.
        format.check_name(name)?;
        let line = match format {
            Format::K8sEnv => k8s_env(name, value),
            _ => dotenv(name, value),
        };
        text += &line.ok_or_else(|| cannot_hold(format, name))?;
    }
    Ok(Secret::new(text))
}

/// The same words for every value: which rule it met would tell what is in it.
fn cannot_hold(format: Format, name: &str) -> Error {
    let reader = match format {
        Format::K8sEnv => "the kubelet",
        _ => "every reader",
    };
    Error::new(
        Cause::Config,
        format!(
            "{name}: the {} format cannot hold this value so that {reader} gets it back",
            format.name()
        ),
    )
    .hint("use --output files or --output json:FILE, which hold every value")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(format: Format, entries: &[(&str, &str)]) -> String {
        render(format, entries).unwrap().expose().to_owned()
    }

    fn said(error: Error) -> [String; 2] {
        assert_eq!(error.cause, Cause::Config);
        [error.to_string(), error.hint.clone().unwrap()]
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
                let error = render(format, &[("GOOD", "a"), ("BAD", value)]).unwrap_err();
                let message = format!(
                    "BAD: the {} format cannot hold this value so that {reader} gets it back",
                    format.name()
                );
                let hint = "use --output files or --output json:FILE, which hold every value";
                assert_eq!(said(error), [message, hint.to_owned()], "{value:?}");
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
            assert_eq!(render(Format::K8sEnv, &[("ABC", &value)]).is_ok(), fits);
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
            assert_eq!(said(render(format, &[(name, "v")]).unwrap_err()), expected);
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

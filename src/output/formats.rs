//! Secrets laid out in one file: `dotenv`, `k8s-env`, `json`.
//!
//! Every reader of a format gets each value back byte for byte, or no file is written. The readers of dotenv files do
//! not agree on the rules of quoting, so each value is written in quotes that all of them read alike, and refused if
//! there are no such quotes. The rules were found by giving them every short string of quotes, escapes and blanks;
//! `tests/formats.sh` repeats the relevant part. A refusal reveals nothing about the value, not even which rule it
//! broke.

use crate::error::Error;
use crate::request::format::FileFormat;
use crate::secret::{Secret, SecretBytes};

/// The maximum length of a line that the kubelet reads, in bytes without the end of the line. The kubelet reads with
/// Go's `bufio.Scanner`, whose buffer of 64 KiB must hold the end of the line too
/// (<https://pkg.go.dev/bufio#MaxScanTokenSize>).
const MAX_K8S_LINE: usize = 64 * 1024 - 1;
const OTHER_OUTPUTS_HINT: &str = "use --output files, which can hold every value, or --output json:FILE, which can hold every text";

/// The content of a file with these entries, each a name and a value, in this order. Fails if the format cannot hold a
/// value; the error comes with the index of the entry.
pub fn render(
    format: FileFormat,
    entries: &[(&str, &[u8])],
) -> Result<SecretBytes, (usize, Error)> {
    let mut written = Vec::new();
    for (index, (name, value)) in entries.iter().enumerate() {
        let entry = str::from_utf8(value).ok().and_then(|value| match format {
            FileFormat::Dotenv => dotenv_entry(name, value),
            FileFormat::Json => Some(json_entry(name, value)),
            FileFormat::K8sEnv => k8s_env_entry(name, value),
        });
        written.push(entry.ok_or_else(|| (index, cannot_hold_error(format)))?);
    }
    let text = match format {
        FileFormat::Json => format!("{{{}\n}}\n", written.join(",")),
        _ => written.concat(),
    };
    Ok(Secret::new(text.into_bytes()))
}

/// The error for a value that the format cannot hold. It is the same for every value, since the reason would reveal a
/// part of the value.
fn cannot_hold_error(format: FileFormat) -> Error {
    let (reason, hint) = match format {
        FileFormat::Json => (
            "it is not UTF-8",
            "use --output files, which can hold every value",
        ),
        FileFormat::K8sEnv => ("the kubelet would change it", OTHER_OUTPUTS_HINT),
        FileFormat::Dotenv => ("some parsers would change it", OTHER_OUTPUTS_HINT),
    };
    let format = format.name();
    let reason = format!("the {format} format cannot hold this value: {reason}");
    Error::config(reason).hint(hint)
}

/// `NAME='value'`, or `NAME="value"` with `\` before `\` and `"`:
///
/// | in the value | allowed in `'…'` | allowed in `"…"` | reason |
/// |---|---|---|---|
/// | `'` | no | yes | the shells end the string there; systemd reads `'\''` as `''` |
/// | `\\` | no | yes | python-dotenv halves them, also in single quotes |
/// | `$`, `` ` `` | yes | no | the shells expand them, and python-dotenv keeps the `\` that prevents it |
/// | `\` at the end | no | no | Compose reads `\'` as a quote; python-dotenv before 1.2.3 reads `\\"` as one too |
/// | `${`, and then `}` | no | no | python-dotenv expands it in all quotes |
/// | CR | no | no | python-dotenv reads it as LF |
/// | U+FDD0 to U+FDEF, U+…FFFE, U+…FFFF | no | no | systemd drops the variable, and logs its value |
/// | NUL | no | no | it ends every string of an environment |
///
/// Everything else is literal in both, newlines included. A value is never written without quotes: a reader that does
/// not understand them, such as `docker run --env-file`, must fail from the start, not when the first rotated value
/// needs them.
///
/// Readers: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02>,
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=>,
/// <https://docs.docker.com/reference/compose-file/services/#env_file-format>,
/// <https://github.com/theskumar/python-dotenv#file-format>
fn dotenv_entry(name: &str, value: &str) -> Option<String> {
    let has_expansion = value
        .split_once("${")
        .is_some_and(|(_, rest)| rest.contains('}'));
    if has_expansion
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

/// Whether a character is one of Unicode's 66 noncharacters
/// (<https://www.unicode.org/faq/private_use.html#noncharacters>).
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// `NAME='value'`, the kubelet's only syntax; `None` if it cannot hold the value. The kubelet reads CR LF as LF, and
/// an empty value as a missing key
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/>).
fn k8s_env_entry(name: &str, value: &str) -> Option<String> {
    if value.is_empty() || value.contains(['\'', '\0']) || value.contains("\r\n") {
        return None;
    }
    let text = format!("{name}='{value}'\n");
    let fits = text.lines().all(|line| line.len() <= MAX_K8S_LINE);
    fits.then_some(text)
}

/// A line of a JSON object. The object is not serde_json's, which would sort its entries.
fn json_entry(name: &str, value: &str) -> String {
    let [name, value] = [name, value].map(serde_json::Value::from);
    format!("\n  {name}: {value}")
}

//! The programs that read the files of `write`, as far as those files go: each reads one as its documentation and its
//! source say, or fails. `tests/formats.sh` asks the programs themselves.

use std::iter::Peekable;
use std::str::Chars;

/// Reads a file.
pub type Reader = fn(&str) -> Option<Variables>;
/// Names and values, in the order of the file.
pub type Variables = Vec<(String, String)>;

/// The entries of a file, each a name, an equals sign, a value that `read` consumes, and a line end.
fn entries(
    text: &str,
    read: impl Fn(&mut Peekable<Chars<'_>>) -> Option<String>,
) -> Option<Variables> {
    let mut chars = text.chars().peekable();
    let mut found = Vec::new();
    while chars.peek().is_some() {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        found.push((name, read(&mut chars)?));
        if chars.next()? != '\n' {
            return None;
        }
    }
    Some(found)
}

/// The text up to a quote.
fn until_quote(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut value = String::new();
    loop {
        match chars.next()? {
            '\'' => return Some(value),
            c => value.push(c),
        }
    }
}

/// A value between quotes of either kind, as in sh. Between double quotes a backslash escapes, and a character of `expanding`
/// is a failure unless it is escaped.
fn quoted(chars: &mut Peekable<Chars<'_>>, expanding: &[char]) -> Option<String> {
    if chars.next()? == '\'' {
        return until_quote(chars);
    }
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(value),
            c if expanding.contains(&c) => return None,
            '\\' => match chars.next()? {
                '\n' => {}
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

/// sh: nothing is special between single quotes. Between double quotes `$` and `` ` `` expand, which is a failure here.
pub fn shell(text: &str) -> Option<Variables> {
    if text.contains('\0') {
        return None;
    }
    entries(text, |chars| quoted(chars, &['$', '`']))
}

/// systemd's EnvironmentFile: like sh, without expansion. It drops what is not valid in an environment.
pub fn systemd(text: &str) -> Option<Variables> {
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        code % 0x1_0000 >= 0xfffe || (0xfdd0..0xfdf0).contains(&code)
    };
    if text.contains('\0') || text.contains(is_noncharacter) {
        return None;
    }
    entries(text, |chars| quoted(chars, &[]))
}

/// python-dotenv: a backslash escapes in both quotes, `${NAME}` expands in both, and line ends become LF.
pub fn python_dotenv(text: &str) -> Option<Variables> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let found = entries(&text, |chars| {
        let quote = chars.next()?;
        let mut value = String::new();
        loop {
            match chars.next()? {
                c if c == quote => return Some(value),
                '\\' => match (chars.next()?, quote) {
                    (c @ ('\\' | '\''), '\'') => value.push(c),
                    (c @ ('\\' | '\'' | '"'), '"') => value.push(c),
                    ('n', '"') => value.push('\n'),
                    ('r', '"') => value.push('\r'),
                    ('t', '"') => value.push('\t'),
                    ('a', '"') => value.push('\x07'),
                    ('b', '"') => value.push('\x08'),
                    ('f', '"') => value.push('\x0c'),
                    ('v', '"') => value.push('\x0b'),
                    (c, _) => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
    })?;
    let expands = |value: &String| {
        let rest = value.split_once("${");
        rest.is_some_and(|(_, rest)| rest.contains('}'))
    };
    (!found.iter().any(|(_, value)| expands(value))).then_some(found)
}

/// The kubelet's `fileKeyRef`: lines of at most 64 KiB without their end, which may be CR LF; single quotes only; an
/// empty value is no value.
pub fn kubelet(text: &str) -> Option<Variables> {
    if text.contains('\0') || text.split('\n').any(|line| line.len() >= 64 * 1024) {
        return None;
    }
    let found = entries(&text.replace("\r\n", "\n"), |chars| {
        (chars.next()? == '\'').then(|| until_quote(chars))?
    })?;
    (!found.iter().any(|(_, value)| value.is_empty())).then_some(found)
}

/// Any reader of JSON.
pub fn json(text: &str) -> Option<Variables> {
    let object: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut found: Variables = object
        .as_object()?
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect::<Option<_>>()?;
    // The order of an object is not kept.
    if found.first()?.0 == "LAST" {
        found.reverse();
    }
    Some(found)
}

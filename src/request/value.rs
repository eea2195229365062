//! The value that a target gets from its secret, by the options of its reference.
//!
//! Each refusal is one fixed sentence: the error of a parser could quote the value.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::error::{Cause, Error};
use crate::request::reference::options::{Decoding, Encoding, IfMissing, SecretOptions, Selection};
use crate::request::secret_id::SecretId;
use crate::request::{pem, percent};
use crate::secret::{Secret, SecretBytes};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const BYTE_ORDER_MARK_HINT: &str =
    "it begins with a byte order mark, which JSON does not have: store it anew";
/// Base64 as programs write it, with padding, and as they read it, with or without. Like Go's, this decoder ignores
/// the bits that are left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A secret as the vault has it.
pub struct StoredSecret {
    /// Its value.
    pub value: SecretBytes,
    /// Its content type: any text that was set with it.
    pub content_type: Option<String>,
}

/// The value that the options make of a secret; `None` if it has no such field and the options allow that.
pub fn make(secret: &StoredSecret, options: &SecretOptions) -> Result<Option<SecretBytes>, Error> {
    let StoredSecret {
        value,
        content_type,
    } = secret;
    let secret = value.expose();
    let mut value = match &options.selection {
        Selection::Whole => secret.to_vec(),
        Selection::Field(pointer) => match find_field(secret, pointer)? {
            Some(text) => text.into_bytes(),
            None if options.if_missing != IfMissing::Fail => return Ok(None),
            None => return Err(missing_field_error(pointer)),
        },
        Selection::Pem(part) => pem::select(secret, content_type.as_deref(), *part)?,
    };
    if let Some(decoding) = options.decoding {
        value = decode(&value, decoding)?;
    }
    if options.trim {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let end = value.iter().rposition(|byte| !is_line_end(byte));
        value.truncate(end.map_or(0, |last| last + 1));
        if value.starts_with(BYTE_ORDER_MARK) {
            value.drain(..BYTE_ORDER_MARK.len());
        }
    }
    if let Some(encoding) = options.encoding {
        value = encode(&value, encoding)?.into_bytes();
    }
    Ok(Some(Secret::new(value)))
}

/// The text of a field of a secret that is JSON; `None` if there is no such field, or if it is `null`.
fn find_field(secret: &[u8], pointer: &str) -> Result<Option<String>, Error> {
    let json: Value = serde_json::from_slice(secret).map_err(|_| {
        let hint = match secret.starts_with(BYTE_ORDER_MARK) {
            true => BYTE_ORDER_MARK_HINT,
            false => "for the whole secret, leave out `#` and what follows it",
        };
        Error::config("the secret is not JSON, and the reference asks for a field").hint(hint)
    })?;
    json.pointer(pointer).map_or(Ok(None), field_text)
}

/// The text of a field; `None` if it is `null`.
fn field_text(field: &Value) -> Result<Option<String>, Error> {
    match field {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) => Ok(Some(field.to_string())),
        // Any other number has several spellings, of which the parser keeps none.
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
        _ => {
            let reason = "the field is not a text, a whole number, true or false";
            Err(Error::config(reason)
                .hint("store the value as a text, or name a field inside of it"))
        }
    }
}

/// The name and the value of each field of the object that the options select; `None` if there is no such object and
/// the options allow that. A field that is `null` is left out, and of those with the same name, the last one counts.
pub fn make_fields(
    secret: &StoredSecret,
    options: &SecretOptions,
) -> Result<Option<Vec<(String, SecretBytes)>>, Error> {
    let secret = secret.value.expose();
    let json = serde_json::from_slice::<Value>(secret);
    let object = match (&options.selection, &json) {
        (Selection::Field(pointer), Ok(json)) => match json.pointer(pointer) {
            None | Some(Value::Null) if options.if_missing == IfMissing::LeaveOut => {
                return Ok(None);
            }
            None | Some(Value::Null) => return Err(missing_field_error(pointer)),
            field => field,
        },
        _ => json.as_ref().ok(),
    };
    let Some(Value::Object(object)) = object else {
        let reason = match (&options.selection, &json) {
            (Selection::Field(_), Ok(_)) => "the field is not a JSON object",
            _ => "the secret is not a JSON object",
        };
        let hint = secret
            .starts_with(BYTE_ORDER_MARK)
            .then(|| BYTE_ORDER_MARK_HINT.to_owned());
        return Err(Error::config(reason).set_hint(hint));
    };
    let fields = object.iter().filter_map(|(name, field)| {
        let value = field_text(field).transpose()?;
        Some(value.map(|value| (name.clone(), Secret::new(value.into_bytes()))))
    });
    fields.collect::<Result<_, Error>>().map(Some)
}

fn missing_field_error(pointer: &str) -> Error {
    let reason = format!("the secret has no field `{pointer}`");
    let hint = match pointer.contains(['?', '&']) {
        true => "options are before the field: `?trim#/user/name`",
        false => {
            "check the field's name, upper and lower case included, and those of the objects that it is in; in a name, \
             `/` is written `~1`, and `~` is `~0`"
        }
    };
    Error::new(Cause::NotFound, reason).hint(hint)
}

fn decode(text: &[u8], decoding: Decoding) -> Result<Vec<u8>, Error> {
    let (decoded, problem) = match decoding {
        Decoding::Base64 => {
            let kept = text.iter().filter(|byte| !byte.is_ascii_whitespace());
            // The two letters in which the URL-safe alphabet differs.
            let standard = kept.map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            });
            let decoded = BASE64.decode(standard.collect::<Vec<u8>>());
            (decoded.ok(), "the value is not base64")
        }
        Decoding::Hex => (
            decode_hex(text.trim_ascii()),
            "the value is not hexadecimal",
        ),
        Decoding::Escapes => (Some(unescape(text)), ""),
    };
    decoded.ok_or_else(|| Error::config(problem).hint("for the value as it is, leave out `decode`"))
}

/// Decodes pairs of hexadecimal digits; `None` for anything else.
fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// Replaces `\n`, `\r`, `\t` and `\\` by the character that each stands for. Any other backslash stays.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'\\', b'n', ..] => Some(b'\n'),
            [b'\\', b'r', ..] => Some(b'\r'),
            [b'\\', b't', ..] => Some(b'\t'),
            [b'\\', b'\\', ..] => Some(b'\\'),
            _ => None,
        };
        value.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[1..]
        } else {
            after
        };
    }
    value
}

fn encode(value: &[u8], encoding: Encoding) -> Result<String, Error> {
    let text = || {
        str::from_utf8(value).map_err(|_| {
            let name = encoding.name();
            Error::config(format!(
                "the value is not UTF-8, which `encode={name}` needs"
            ))
            .hint("`encode=url` and `encode=base64` take any bytes")
        })
    };
    Ok(match encoding {
        Encoding::Url => percent::encode(value),
        // <https://learn.microsoft.com/dotnet/framework/data/adonet/connection-string-syntax>
        Encoding::Ado => format!("\"{}\"", text()?.replace('"', "\"\"")),
        Encoding::Json => {
            let quoted = Value::from(text()?).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Encoding::Base64 => BASE64.encode(value),
    })
}

/// Something in a value that its user may not expect.
pub struct ValueWarning {
    /// What it is, and how to change it.
    pub text: String,
    /// Whether it is a newline at the end, which programs that read a file remove.
    pub is_newline: bool,
}

/// The warnings about the value that these options made of a secret. There is none about the bytes of a decoded value,
/// nor about PEM, whose newlines belong to it.
pub fn warnings(
    secret: &SecretId,
    options: &SecretOptions,
    value: &SecretBytes,
) -> Vec<ValueWarning> {
    let with_option = |change: fn(&mut SecretOptions)| {
        let mut options = options.shown();
        change(&mut options);
        secret.reference(&options)
    };
    let trimmed = || with_option(|options| options.trim = true);
    let mut warnings = Vec::new();
    let mut warn = |is_newline, text| warnings.push(ValueWarning { text, is_newline });
    let value = value.expose();
    let is_pem = matches!(options.selection, Selection::Pem(_));
    if options.decoding.is_none() && !is_pem {
        if value.starts_with(BYTE_ORDER_MARK) {
            warn(
                false,
                format!(
                    "the secret begins with a byte order mark, which becomes part of the value; to remove it, write {}",
                    trimmed()
                ),
            );
        }
        if matches!(value, [.., b'\r' | b'\n']) {
            warn(
                true,
                format!(
                    "the secret ends in a newline, which becomes part of the value; to remove it, write {}",
                    trimmed()
                ),
            );
        }
        // No PEM text has a backslash otherwise (RFC 7468).
        let text = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value);
        if text.starts_with(b"-----BEGIN ") && text.windows(2).any(|pair| pair == b"\\n") {
            let reference = with_option(|options| options.decoding = Some(Decoding::Escapes));
            warn(
                false,
                format!(
                    "the secret is a PEM text that has the two characters `\\n` in place of newlines; to have newlines, write {reference}"
                ),
            );
        }
    }
    warnings
}

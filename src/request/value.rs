//! The value that a target gets from its secret.

use crate::secret::Secret;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The value for a target: a secret, or the path of a file in memory with the secret. It cannot be displayed.
pub struct TargetValue<'a>(&'a str);

impl<'a> TargetValue<'a> {
    /// The secret itself. With `trim`, without a byte order mark at its start and newlines at its end, which secrets
    /// that were uploaded from a file often have.
    pub fn new(secret: &'a Secret, trim: bool) -> Self {
        let text = secret.expose();
        if !trim {
            return TargetValue(text);
        }
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        TargetValue(text.trim_end_matches(['\r', '\n']))
    }

    /// The path of a file in memory that contains the secret.
    pub fn from_path(path: &'a str) -> Self {
        TargetValue(path)
    }

    /// The value as text, for the target only.
    pub fn expose(&self) -> &'a str {
        self.0
    }

    /// Whether the value ends in a newline.
    pub fn ends_in_newline(&self) -> bool {
        self.0.ends_with(['\r', '\n'])
    }

    /// Whether the value begins with a byte order mark, as a file that was written on Windows does.
    pub fn has_byte_order_mark(&self) -> bool {
        self.0.starts_with(BYTE_ORDER_MARK)
    }

    /// Whether the value is a PEM text with the two characters `\n` for a newline. No PEM text has a backslash
    /// otherwise (RFC 7468).
    pub fn is_escaped_pem(&self) -> bool {
        let text = self.0.trim_start_matches(BYTE_ORDER_MARK);
        text.starts_with("-----BEGIN ") && text.contains("\\n")
    }
}

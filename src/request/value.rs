//! The value that a target gets from its secret.

use crate::secret::SecretBytes;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The value for a target: a secret, or the path of a file in memory with the secret. It cannot be displayed.
pub struct TargetValue<'a>(&'a [u8]);

impl<'a> TargetValue<'a> {
    /// The secret itself. With `trim`, without a byte order mark at its start and newlines at its end, which secrets
    /// that were uploaded from a file often have.
    pub fn new(secret: &'a SecretBytes, trim: bool) -> Self {
        let mut value = secret.expose();
        if trim {
            value = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value);
            while let [rest @ .., b'\r' | b'\n'] = value {
                value = rest;
            }
        }
        TargetValue(value)
    }

    /// The path of a file in memory that contains the secret.
    pub fn from_path(path: &'a str) -> Self {
        TargetValue(path.as_bytes())
    }

    /// The value itself, for the target only.
    pub fn expose(&self) -> &'a [u8] {
        self.0
    }

    /// Whether the value ends in a newline.
    pub fn ends_in_newline(&self) -> bool {
        matches!(self.0, [.., b'\r' | b'\n'])
    }

    /// Whether the value begins with a byte order mark, as a file that was written on Windows does.
    pub fn has_byte_order_mark(&self) -> bool {
        self.0.starts_with(BYTE_ORDER_MARK)
    }

    /// Whether the value is a PEM text with the two characters `\n` for a newline. No PEM text has a backslash
    /// otherwise (RFC 7468).
    pub fn is_escaped_pem(&self) -> bool {
        let text = self.0.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.0);
        text.starts_with(b"-----BEGIN ") && text.windows(2).any(|pair| pair == b"\\n")
    }
}

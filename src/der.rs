//! Reads DER, the encoding of certificates, keys and PFX files
//! (<https://www.itu.int/rec/T-REC-X.690-202102-I/en>).
//!
//! Only what these require: tags of one byte, and lengths of at most three. An element of indefinite length, which BER
//! has and DER has not, is malformed.

/// The tag of an integer.
pub const INTEGER: u8 = 0x02;
/// The tag of bytes.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of an object identifier.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// The tag of a sequence.
pub const SEQUENCE: u8 = 0x30;
/// The tag of a set.
pub const SET: u8 = 0x31;

/// Iterates over DER elements; yields the tag and the content of each. It ends at the first malformed one.
pub struct DerReader<'a>(pub &'a [u8]);

impl<'a> Iterator for DerReader<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
                let append = |length, byte: &u8| length << 8 | usize::from(*byte);
                (bytes.iter().fold(0, append), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

impl<'a> DerReader<'a> {
    /// The content of the next element; `None` if that element has another tag.
    pub fn next_content(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (next_tag, content) = self.next()?;
        (next_tag == tag).then_some(content)
    }
}

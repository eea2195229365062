//! Reads a certificate's issuer, names and dates, which messages name.
//!
//! Nothing is verified here: rustls does that. The DER is read only as far as these parts require
//! (<https://www.rfc-editor.org/rfc/rfc5280#section-4.1>).

use std::net::IpAddr;

use crate::date;
use crate::der::{DerReader, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET};

/// The parts of a certificate that messages show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The issuer as `ORGANIZATION, COMMON NAME`, or only one of the two if the other is missing.
    pub issuer: String,
    /// The subject alternative names: DNS names and IP addresses.
    pub names: Vec<String>,
    /// When the certificate begins to be valid, in Unix seconds.
    pub not_before: i64,
    /// When the certificate expires, in Unix seconds.
    pub not_after: i64,
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The tag of the extensions in a certificate: `[3]` of TBSCertificate.
const EXTENSIONS: u8 = 0xa3;
/// The tag of a DNS name: `[2]` of GeneralName.
const DNS_NAME: u8 = 0x82;
/// The tag of an IP address, of 4 or 16 bytes: `[7]` of GeneralName.
const IP_ADDRESS: u8 = 0x87;
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];

impl Certificate {
    /// The first name of the certificate that matches a host; `None` if no name does.
    pub fn name_matching(&self, host: &str) -> Option<&str> {
        let matches_host = |name: &&String| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => host.eq_ignore_ascii_case(name),
        };
        self.names.iter().find(matches_host).map(String::as_str)
    }

    /// The names as text for a message: all of them, or the first two and the number of the others.
    pub fn names_summary(&self) -> String {
        match self.names.as_slice() {
            [] => "no name".to_owned(),
            [first, second, rest @ ..] if rest.len() > 1 => {
                format!("{first}, {second} and {} more names", rest.len())
            }
            names => names.join(", "),
        }
    }

    /// Parses a certificate in DER; `None` if it is malformed.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let mut tbs =
            DerReader(DerReader(DerReader(der).next_content(SEQUENCE)?).next_content(SEQUENCE)?);
        // The serial number; an optional version precedes it.
        tbs.find(|(tag, _)| *tag == INTEGER)?;
        let _signature_algorithm = tbs.next_content(SEQUENCE)?;
        let issuer = issuer_name(tbs.next_content(SEQUENCE)?);
        let mut validity = DerReader(tbs.next_content(SEQUENCE)?);
        let extensions = tbs.find(|(tag, _)| *tag == EXTENSIONS);
        let names = extensions.and_then(|(_, content)| alternative_names(content));
        Some(Certificate {
            issuer,
            names: names.unwrap_or_default(),
            not_before: parse_time(validity.next()?)?,
            not_after: parse_time(validity.next()?)?,
        })
    }
}

/// A distinguished name as text: `ORGANIZATION, COMMON NAME`, or only one of the two if the other is missing.
fn issuer_name(name: &[u8]) -> String {
    let (mut organization, mut common_name) = (None, None);
    let mut sets = DerReader(name);
    while let Some(set) = sets.next_content(SET) {
        let mut pair = DerReader(DerReader(set).next_content(SEQUENCE).unwrap_or_default());
        let attribute = match pair.next_content(OBJECT_IDENTIFIER) {
            Some(ORGANIZATION) => &mut organization,
            Some(COMMON_NAME) => &mut common_name,
            _ => continue,
        };
        *attribute = pair.next().map(|(_, text)| String::from_utf8_lossy(text));
    }
    match (organization, common_name) {
        (Some(organization), Some(common_name)) => format!("{organization}, {common_name}"),
        (Some(only), None) | (None, Some(only)) => only.into_owned(),
        (None, None) => "an issuer without a name".to_owned(),
    }
}

/// The subject alternative names, from the extensions; `None` if their extension is missing or malformed.
fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = DerReader(DerReader(extensions).next_content(SEQUENCE)?);
    let (_, value) = loop {
        let mut extension = DerReader(extensions.next_content(SEQUENCE)?);
        if extension.next_content(OBJECT_IDENTIFIER)? == ALTERNATIVE_NAMES {
            // The value is the last element: an optional flag (critical) precedes it.
            break extension.last()?;
        }
    };
    let names = DerReader(DerReader(value).next_content(SEQUENCE)?);
    let names = names.filter_map(|(tag, name)| match tag {
        DNS_NAME => Some(dns_name(name)),
        IP_ADDRESS => ip_address(name),
        _ => None,
    });
    Some(names.collect())
}

/// A DNS name as text. If it is in fact an IP address, the text says so, since it then matches no host: IP addresses
/// have their own type of name.
fn dns_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    match name.parse::<IpAddr>() {
        Ok(_) => format!("{name} (as a DNS name, not as an IP address)"),
        Err(_) => name.into_owned(),
    }
}

/// An IP address of 4 or 16 bytes as text; `None` for any other length.
fn ip_address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    Some(address.ok()?.to_string())
}

/// Parses a UTCTime `YYMMDDhhmmssZ` or a GeneralizedTime `YYYYMMDDhhmmssZ` to Unix seconds; `None` if it is malformed.
fn parse_time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let century = match tag {
        // RFC 5280, 4.1.2.5.1: 50 to 99 are 1950 to 1999.
        UTC_TIME if text < "50" => "20",
        UTC_TIME => "19",
        GENERALIZED_TIME => "",
        _ => return None,
    };
    let text = format!("{century}{text}");
    let digits = |start: usize, end: usize| text.get(start..end)?.parse().ok();
    date::unix_seconds(
        [digits(0, 4)?, digits(4, 6)?, digits(6, 8)?],
        [digits(8, 10)?, digits(10, 12)?, digits(12, 14)?],
    )
}

//! What messages say of a certificate: its issuer, its names and its dates.
//!
//! Nothing is verified here: rustls does that. DER is read only as far as these parts need
//! (<https://www.rfc-editor.org/rfc/rfc5280#section-4.1>).

use std::net::IpAddr;

use crate::date;

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The issuer's organisation and common name, as far as it has them.
    pub issuer: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` of TBSCertificate, its version.
const VERSION: u8 = 0xa0;
/// `[3]` of TBSCertificate, its extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[2]` of GeneralName, a DNS name.
const DNS_NAME: u8 = 0x82;
/// `[7]` of GeneralName, 4 or 16 bytes.
const IP_ADDRESS: u8 = 0x87;
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];

impl Certificate {
    /// Its name that matches a host.
    pub fn name_for(&self, host: &str) -> Option<&str> {
        let is_for = |name: &&String| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => host.eq_ignore_ascii_case(name),
        };
        self.names.iter().find(is_for).map(String::as_str)
    }

    /// The first of its names, and how many more there are.
    pub fn some_names(&self) -> String {
        match self.names.as_slice() {
            [] => "no name".to_owned(),
            [first, second, rest @ ..] if rest.len() > 1 => {
                format!("{first}, {second} and {} more names", rest.len())
            }
            few => few.join(", "),
        }
    }

    /// Reads it; none if it is not one.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let mut tbs = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        let (first, _) = tbs.next()?;
        if first == VERSION {
            tbs.expect(0x02)?;
        }
        tbs.expect(SEQUENCE)?;
        let issuer = name_of(tbs.expect(SEQUENCE)?);
        let mut validity = Der(tbs.expect(SEQUENCE)?);
        let not_before = time_of(validity.next()?)?;
        let not_after = time_of(validity.next()?)?;
        let mut names = Vec::new();
        while let Some((tag, content)) = tbs.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content).unwrap_or_default();
            }
        }
        Some(Certificate {
            issuer,
            names,
            not_before,
            not_after,
        })
    }
}

/// The unread part of a sequence.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }
}

/// `Organisation, Common Name`.
fn name_of(name: &[u8]) -> String {
    let mut parts = [None, None];
    let mut sets = Der(name);
    while let Some(set) = sets.expect(SET) {
        let mut pair = Der(Der(set).expect(SEQUENCE).unwrap_or_default());
        let (Some(kind), Some((_, value))) = (pair.expect(OBJECT_ID), pair.next()) else {
            continue;
        };
        let value = String::from_utf8_lossy(value).into_owned();
        match kind {
            ORGANIZATION => parts[0] = Some(value),
            COMMON_NAME => parts[1] = Some(value),
            _ => {}
        }
    }
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "an issuer without a name".to_owned(),
        false => parts.join(", "),
    }
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut list = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some(extension) = list.expect(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_ID)? != ALTERNATIVE_NAMES {
            continue;
        }
        let value = loop {
            match extension.next()? {
                (OCTETS, value) => break value,
                _critical => {}
            }
        };
        let mut names = Vec::new();
        let mut all = Der(Der(value).expect(SEQUENCE)?);
        while let Some((tag, name)) = all.next() {
            match tag {
                DNS_NAME => names.push(dns_name(name)),
                IP_ADDRESS => names.extend(ip_address(name)),
                _ => {}
            }
        }
        return Some(names);
    }
    None
}

/// An address as a DNS name matches no host: addresses have a type of their own.
fn dns_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    match name.parse::<IpAddr>() {
        Ok(_) => format!("{name} (as a DNS name, not as an IP address)"),
        Err(_) => name.into_owned(),
    }
}

fn ip_address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time_of((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // RFC 5280, 4.1.2.5.1: from 50 on it is the last century.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    date::parse_expiry(&format!(
        "{}-{}-{} {}:{}:{}",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    ))
}

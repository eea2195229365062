//! What a certificate says of itself, for people: who issued it, for which names, from when until when.
//!
//! Nothing is decided by it: rustls verifies, and does not tell these. DER is read only as far as they need
//! (<https://www.rfc-editor.org/rfc/rfc5280#section-4.1>).

use crate::date;

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The issuer's organisation and common name, as far as it has them.
    pub issuer: String,
    /// DNS names and, where there are none, nothing.
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
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];

impl Certificate {
    /// The name of it that a host goes by, if there is one.
    pub fn name_for(&self, host: &str) -> Option<&str> {
        let is_for = |name: &&String| match name.strip_prefix("*.") {
            Some(domain) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => host.eq_ignore_ascii_case(name),
        };
        self.names.iter().find(is_for).map(String::as_str)
    }

    /// Its names, at most three of them.
    pub fn names_text(&self) -> String {
        match self.names.as_slice() {
            [] => "no hostname".to_owned(),
            [first, second, rest @ ..] if rest.len() > 1 => {
                format!("{first}, {second} and {} other names", rest.len())
            }
            few => few.join(", "),
        }
    }

    /// Whether it is valid at a time, in Unix seconds.
    pub fn is_valid_at(&self, time: i64) -> bool {
        (self.not_before..=self.not_after).contains(&time)
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

/// What is left of a sequence.
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
            if tag == DNS_NAME {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        return Some(names);
    }
    None
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn issuer_names_and_end_are_those_of_the_certificate() {
        let names = ["kv1.vault.azure.net", "*.vault.azure.net"].map(str::to_owned);
        let mut params = CertificateParams::new(names.clone()).unwrap();
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Contoso");
        name.push(DnType::CommonName, "Contoso CA 1");
        params.not_before = date_time_ymd(2020, 1, 1);
        for (end, unix) in [(2_035, 2_051_222_400), (2_055, 2_682_374_400)] {
            params.not_after = date_time_ymd(end, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let expected = Certificate {
                issuer: "Contoso, Contoso CA 1".to_owned(),
                names: names.to_vec(),
                not_before: 1_577_836_800,
                not_after: unix,
            };
            assert_eq!(Certificate::parse(certificate.der()), Some(expected));
        }
    }

    #[test]
    fn what_is_cut_off_is_no_certificate_and_no_panic() {
        let params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for end in 0..certificate.der().len() {
            let cut = &certificate.der()[..end];
            assert_eq!(Certificate::parse(cut), None, "{end}");
        }
    }
}

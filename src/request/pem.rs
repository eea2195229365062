//! Certificates and private keys: the order that TLS sends certificates in.

use crate::der::{DerReader, INTEGER, SEQUENCE};

/// Certificates in the order of TLS: the leaf, its issuer, and so on; then those that this leads not to, in their order.
/// `None` if one is malformed.
///
/// The leaf is the first one whose subject is not the issuer of another one. Names decide, and not the ids of keys,
/// which a leaf may be without.
pub fn leaf_first(certificates: &[Vec<u8>]) -> Option<Vec<&[u8]>> {
    let names = certificates.iter().map(|der| Names::parse(der));
    let mut rest: Vec<Names<'_>> = names.collect::<Option<_>>()?;
    let issues_another = |one: &Names<'_>| {
        let others = rest.iter().filter(|other| !std::ptr::eq(*other, one));
        others.into_iter().any(|other| other.issuer == one.subject)
    };
    let leaf = rest.iter().position(|one| !issues_another(one));
    let mut next = leaf.or((!rest.is_empty()).then_some(0));
    let mut ordered = Vec::new();
    while let Some(index) = next {
        let last = rest.remove(index);
        ordered.push(last.certificate);
        next = rest.iter().position(|one| one.subject == last.issuer);
    }
    ordered.extend(rest.iter().map(|one| one.certificate));
    Some(ordered)
}

/// The distinguished names in a certificate, in DER.
struct Names<'a> {
    certificate: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Names<'a> {
    fn parse(der: &'a [u8]) -> Option<Names<'a>> {
        let mut file = DerReader(der);
        let mut tbs = DerReader(DerReader(file.next_content(SEQUENCE)?).next_content(SEQUENCE)?);
        if !file.0.is_empty() {
            return None;
        }
        // The serial number; an optional version precedes it.
        tbs.find(|(tag, _)| *tag == INTEGER)?;
        let _signature_algorithm = tbs.next_content(SEQUENCE)?;
        let issuer = tbs.next_content(SEQUENCE)?;
        let _validity = tbs.next_content(SEQUENCE)?;
        let subject = tbs.next_content(SEQUENCE)?;
        Some(Names {
            certificate: der,
            issuer,
            subject,
        })
    }
}

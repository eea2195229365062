//! Certificates and private keys in the value of a secret, from PEM or from a PFX.
//!
//! What is made of them is PEM (<https://www.rfc-editor.org/rfc/rfc7468>), with the certificates in the order that TLS
//! sends them in. Nothing is verified, and nothing is left out.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::der::{DerReader, INTEGER, SEQUENCE};
use crate::error::{Cause, Error};
use crate::request::pfx::{self, Flaw};
use crate::request::reference::options::PemPart;

/// The content type of a secret that is a PFX in base64.
pub const PFX_CONTENT_TYPE: &str = "application/x-pkcs12";
const LINE_LEN: usize = 64;

/// The part of a secret as PEM. `content_type` is the secret's, if it has one; only it decides between PFX and PEM.
///
/// Fails if the secret is neither (78), or does not have this part (66).
pub fn select(value: &[u8], content_type: Option<&str>, part: PemPart) -> Result<Vec<u8>, Error> {
    let is_pfx = content_type.is_some_and(|it| it.eq_ignore_ascii_case(PFX_CONTENT_TYPE));
    let content = match is_pfx {
        true => parse_pfx(value).map_err(pfx_error)?,
        false => parse_pem(value).ok_or_else(no_pem_error)?,
    };
    let certificates = &content.certificates;
    let certificates = match part {
        PemPart::All | PemPart::Chain => certificates,
        PemPart::Leaf => &certificates[..certificates.len().min(1)],
        PemPart::Ca => certificates.get(1..).unwrap_or_default(),
        PemPart::Key => &[],
    };
    let mut text = String::new();
    if let PemPart::All | PemPart::Key = part {
        content.keys.iter().for_each(|key| key.write_to(&mut text));
    }
    for der in certificates {
        write_block(&mut text, "CERTIFICATE", "", der);
    }
    if !text.is_empty() {
        return Ok(text.into_bytes());
    }
    let missing = |what: &str| Error::new(Cause::NotFound, format!("the secret holds no {what}"));
    Err(match part {
        PemPart::Key => {
            missing("private key").hint("is the key exportable, by the certificate's policy?")
        }
        PemPart::Ca if !content.certificates.is_empty() => missing("certificate of an issuer"),
        _ => missing("certificate"),
    })
}

fn no_pem_error() -> Error {
    Error::config("the secret holds no PEM").hint(
        "if it is a PFX, `decode=base64` gives its bytes, and its content type must be \
         application/x-pkcs12 for `pem`",
    )
}

/// The blocks of a secret that count.
struct Content {
    keys: Vec<Key>,
    /// In DER, the leaf first.
    certificates: Vec<Vec<u8>>,
}

/// A private key as it is stored: PKCS#8, PKCS#1 or SEC1, encrypted or not.
struct Key {
    label: String,
    /// The lines before the base64 (RFC 1421), such as those of an encrypted key in the format of OpenSSL 0.9.
    headers: String,
    bytes: Vec<u8>,
}

impl Key {
    fn write_to(&self, text: &mut String) {
        write_block(text, &self.label, &self.headers, &self.bytes);
    }
}

fn write_block(text: &mut String, label: &str, headers: &str, bytes: &[u8]) {
    let encoded = BASE64_STANDARD.encode(bytes);
    *text += &format!("-----BEGIN {label}-----\n{headers}");
    let mut rest = &*encoded;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE_LEN));
        *text += &format!("{line}\n");
        rest = more;
    }
    *text += &format!("-----END {label}-----\n");
}

/// Decodes base64 with white space anywhere, as between the lines of a PEM block; `None` if it is malformed.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut text = text.as_bytes().to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    BASE64_STANDARD.decode(text).ok()
}

fn pfx_error(flaw: Flaw) -> Error {
    let error = Error::config(format!("the secret, a PFX by its content type, {flaw}"));
    match flaw {
        Flaw::Malformed => error,
        Flaw::Password => error.hint(
            "only a PFX without a password is read: import it into Key Vault as a certificate, which removes the \
             password",
        ),
        Flaw::Algorithm | Flaw::Iterations => error.hint(
            "set the content type of the certificate's policy to application/x-pem-file, and renew it",
        ),
    }
}

fn parse_pfx(value: &[u8]) -> Result<Content, Flaw> {
    let der = str::from_utf8(value).ok().and_then(decode_base64);
    let pfx = pfx::read(&der.ok_or(Flaw::Malformed)?, "")?;
    if !pfx.keys.iter().all(|key| is_der_sequence(key)) {
        return Err(Flaw::Malformed);
    }
    let to_key = |bytes| Key {
        label: "PRIVATE KEY".to_owned(),
        headers: String::new(),
        bytes,
    };
    Ok(Content {
        keys: pfx.keys.into_iter().map(to_key).collect(),
        certificates: leaf_first(&pfx.certificates).ok_or(Flaw::Malformed)?,
    })
}

fn is_der_sequence(bytes: &[u8]) -> bool {
    let mut reader = DerReader(bytes);
    reader.next_content(SEQUENCE).is_some() && reader.0.is_empty()
}

/// Parses PEM; `None` if there is no private key and no certificate in it, or a malformed one.
fn parse_pem(value: &[u8]) -> Option<Content> {
    // A PEM that was stored on one line has two characters for each line end.
    let text = str::from_utf8(value).ok()?.replace("\\r", "\r");
    let text = text.replace("\\n", "\n").replace('\r', "");
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    let mut rest = &*text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----")?;
        let (body, after) = block.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        if label == "CERTIFICATE" {
            certificates.push(decode_base64(body)?);
        } else if label.ends_with("PRIVATE KEY") {
            keys.push(parse_key(label, body.trim_start())?);
        }
    }
    let certificates = leaf_first(&certificates)?;
    let is_empty = keys.is_empty() && certificates.is_empty();
    (!is_empty).then_some(Content { keys, certificates })
}

fn parse_key(label: &str, body: &str) -> Option<Key> {
    let end = body.find("\n\n").filter(|end| body[..*end].contains(':'));
    let (headers, base64) = body.split_at(end.map_or(0, |end| end + 2));
    let bytes = decode_base64(base64)?;
    // With headers it is encrypted as a whole.
    (!headers.is_empty() || is_der_sequence(&bytes)).then(|| Key {
        label: label.to_owned(),
        headers: headers.to_owned(),
        bytes,
    })
}

/// Certificates in the order of TLS: the leaf, its issuer, and so on; then those that are no part of this chain, in their
/// own order. `None` if one is malformed.
///
/// The leaf is the first one whose subject is not the issuer of another one; a root, which is its own issuer, only if
/// there is no other. Names decide, and not the ids of keys, which a leaf may be without.
pub fn leaf_first(certificates: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let names = certificates.iter().map(|der| Names::parse(der));
    let mut rest: Vec<Names<'_>> = names.collect::<Option<_>>()?;
    let issues_another = |one: &Names<'_>| {
        let others = rest.iter().filter(|other| !std::ptr::eq(*other, one));
        others.into_iter().any(|other| other.issuer == one.subject)
    };
    let find = |is_it: &dyn Fn(&Names<'_>) -> bool| rest.iter().position(is_it);
    let mut next = find(&|one| !issues_another(one) && one.subject != one.issuer)
        .or_else(|| find(&|one| !issues_another(one)))
        .or_else(|| find(&|_| true));
    let mut ordered = Vec::new();
    while let Some(index) = next {
        let last = rest.remove(index);
        ordered.push(last.certificate.to_vec());
        next = rest.iter().position(|one| one.subject == last.issuer);
    }
    ordered.extend(rest.iter().map(|one| one.certificate.to_vec()));
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

//! Reads a PFX, also called PKCS#12: private keys and certificates in one file that is encrypted with a password
//! (<https://www.rfc-editor.org/rfc/rfc7292>).
//!
//! What Key Vault, OpenSSL and Windows write is read: 3DES or RC2 with keys of RFC 7292, and AES with keys of PBKDF2
//! (<https://www.rfc-editor.org/rfc/rfc8018>).

use std::fmt;
use std::num::NonZeroU32;

use aes::{Aes128, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use rc2::Rc2;
use ring::digest::{Algorithm, digest};
use ring::{hmac, pbkdf2};

use crate::der::{DerReader, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

/// What a PFX contains, in its order.
#[derive(Default)]
pub struct Pfx {
    /// The private keys, in PKCS#8.
    pub keys: Vec<Vec<u8>>,
    /// The certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Why a PFX cannot be read. As text it is the end of a sentence about the PFX, and says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not a PFX in DER, or only a part of one.
    Malformed,
    /// It has another password, or was changed.
    Password,
    /// It uses an algorithm that is not among those that are read.
    Algorithm,
    /// Its keys would take too long to derive.
    Iterations,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Malformed => "is not a complete PFX",
            Flaw::Password => "has another password, or is damaged",
            Flaw::Algorithm => "is encrypted by an algorithm that is not read",
            Flaw::Iterations => "asks for more than 600,000 iterations",
        })
    }
}

/// The maximum number of iterations of one key: OWASP's recommendation for PBKDF2.
const MAX_ITERATIONS: u32 = 600_000;
/// The maximum number of iterations of one file: for its MAC, its certificates and its private key. A file with
/// more encrypted parts has to do with the same number.
const MAX_FILE_ITERATIONS: u32 = 3 * MAX_ITERATIONS;

/// The tag of the content in a ContentInfo or in a bag: `[0]`, explicit.
const CONTENT: u8 = 0xa0;
/// The tag of the bytes in an EncryptedContentInfo: `[0]`, implicit.
const ENCRYPTED_CONTENT: u8 = 0x80;

const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const ENCRYPTED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
const KEY_BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01";
const SHROUDED_KEY_BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02";
const CERTIFICATE_BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x03";
const X509_CERTIFICATE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";

/// Decrypts data with a key and an initialisation vector; `None` if one of the three is not what the cipher requires.
type Decrypt = fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>>;

/// A cipher with keys of RFC 7292 (appendix C), and the length of its key. Each has blocks of 8 bytes.
fn pkcs12_cipher(oid: &[u8]) -> Option<(usize, Decrypt)> {
    match oid.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01")? {
        [3] => Some((24, decrypt::<Decryptor<TdesEde3>>)),
        [5] => Some((16, decrypt::<Decryptor<Rc2>>)),
        [6] => Some((5, decrypt::<Decryptor<Rc2>>)),
        _ => None,
    }
}

/// A cipher with keys of PBKDF2, and the length of its key: AES, in CBC mode.
fn pbes2_cipher(oid: &[u8]) -> Option<(usize, Decrypt)> {
    match oid.strip_prefix(b"\x60\x86\x48\x01\x65\x03\x04\x01")? {
        [2] => Some((16, decrypt::<Decryptor<Aes128>>)),
        [42] => Some((32, decrypt::<Decryptor<Aes256>>)),
        _ => None,
    }
}

/// The MAC with a digest: SHA-1 or SHA-2.
fn mac_algorithm(digest_oid: &[u8]) -> Option<hmac::Algorithm> {
    if digest_oid == b"\x2b\x0e\x03\x02\x1a" {
        return Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY);
    }
    match digest_oid.strip_prefix(b"\x60\x86\x48\x01\x65\x03\x04\x02")? {
        [1] => Some(hmac::HMAC_SHA256),
        [2] => Some(hmac::HMAC_SHA384),
        [3] => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// PBKDF2 with a MAC (RFC 8018, B.1).
fn pbkdf2_algorithm(mac_oid: &[u8]) -> Option<pbkdf2::Algorithm> {
    match mac_oid.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x02")? {
        [7] => Some(pbkdf2::PBKDF2_HMAC_SHA1),
        [9] => Some(pbkdf2::PBKDF2_HMAC_SHA256),
        [10] => Some(pbkdf2::PBKDF2_HMAC_SHA384),
        [11] => Some(pbkdf2::PBKDF2_HMAC_SHA512),
        _ => None,
    }
}

/// Reads a PFX in DER.
pub fn read(der: &[u8], password: &str) -> Result<Pfx, Flaw> {
    let utf16 = password.encode_utf16().chain([0]);
    let utf16: Vec<u8> = utf16.flat_map(u16::to_be_bytes).collect();
    match Reader::new(password, &utf16).read(der) {
        // RFC 7292, B.1 ends a password with a NUL. Some programs write no bytes at all for an empty one.
        Err(Flaw::Password) if password.is_empty() => Reader::new("", &[]).read(der),
        result => result,
    }
}

/// Reads one PFX with one password.
struct Reader<'a> {
    /// The password as UTF-8, which PBKDF2 takes.
    utf8: &'a str,
    /// The password in UTF-16, the higher byte first, which the derivation of RFC 7292 takes.
    utf16: &'a [u8],
    /// How many iterations the file may still ask for.
    iterations_left: u32,
    pfx: Pfx,
}

impl<'a> Reader<'a> {
    fn new(utf8: &'a str, utf16: &'a [u8]) -> Self {
        Reader {
            utf8,
            utf16,
            iterations_left: MAX_FILE_ITERATIONS,
            pfx: Pfx::default(),
        }
    }

    fn read(mut self, der: &[u8]) -> Result<Pfx, Flaw> {
        let mut pfx = DerReader(content(&mut DerReader(der), SEQUENCE)?);
        let _version = content(&mut pfx, INTEGER)?;
        let mut safe = DerReader(content(&mut pfx, SEQUENCE)?);
        // The other type, SignedData, is authenticated by a signature instead of a password.
        if content(&mut safe, OBJECT_IDENTIFIER)? != DATA {
            return Err(Flaw::Algorithm);
        }
        let safe = explicit_content(&mut safe, OCTET_STRING)?;
        if !pfx.0.is_empty() {
            self.verify_mac(DerReader(content(&mut pfx, SEQUENCE)?), safe)?;
        }
        let mut parts = DerReader(content(&mut DerReader(safe), SEQUENCE)?);
        while !parts.0.is_empty() {
            let mut part = DerReader(content(&mut parts, SEQUENCE)?);
            match content(&mut part, OBJECT_IDENTIFIER)? {
                DATA => self.read_bags(explicit_content(&mut part, OCTET_STRING)?)?,
                ENCRYPTED_DATA => {
                    let mut data = DerReader(explicit_content(&mut part, SEQUENCE)?);
                    let _version = content(&mut data, INTEGER)?;
                    let mut data = DerReader(content(&mut data, SEQUENCE)?);
                    let _content_type = content(&mut data, OBJECT_IDENTIFIER)?;
                    let bags = self.decrypt(&mut data, ENCRYPTED_CONTENT)?;
                    self.read_bags(&bags)?;
                }
                _ => return Err(Flaw::Algorithm),
            }
        }
        Ok(self.pfx)
    }

    fn verify_mac(&mut self, mut mac_data: DerReader<'_>, data: &[u8]) -> Result<(), Flaw> {
        let mut mac = DerReader(content(&mut mac_data, SEQUENCE)?);
        let mut algorithm = DerReader(content(&mut mac, SEQUENCE)?);
        let oid = content(&mut algorithm, OBJECT_IDENTIFIER)?;
        let mac = content(&mut mac, OCTET_STRING)?;
        let salt = content(&mut mac_data, OCTET_STRING)?;
        // One iteration is the default.
        let iterations = match mac_data.0 {
            [] => NonZeroU32::MIN,
            _ => self.iterations(&mut mac_data)?,
        };
        let algorithm = mac_algorithm(oid).ok_or(Flaw::Algorithm)?;
        let digest = algorithm.digest_algorithm();
        let mut key = vec![0; digest.output_len()];
        self.derive(digest, 3, salt, iterations, &mut key);
        hmac::verify(&hmac::Key::new(algorithm, &key), data, mac).map_err(|_| Flaw::Password)
    }

    /// The private keys and certificates in a SafeContents; what else can be in it is skipped.
    fn read_bags(&mut self, bags: &[u8]) -> Result<(), Flaw> {
        let mut bags = DerReader(content(&mut DerReader(bags), SEQUENCE)?);
        while !bags.0.is_empty() {
            let mut bag = DerReader(content(&mut bags, SEQUENCE)?);
            let bag_type = content(&mut bag, OBJECT_IDENTIFIER)?;
            let value = content(&mut bag, CONTENT)?;
            match bag_type {
                KEY_BAG => self.pfx.keys.push(value.to_vec()),
                SHROUDED_KEY_BAG => {
                    let mut encrypted = DerReader(content(&mut DerReader(value), SEQUENCE)?);
                    let key = self.decrypt(&mut encrypted, OCTET_STRING)?;
                    self.pfx.keys.push(key);
                }
                CERTIFICATE_BAG => {
                    let mut certificate = DerReader(content(&mut DerReader(value), SEQUENCE)?);
                    if content(&mut certificate, OBJECT_IDENTIFIER)? == X509_CERTIFICATE {
                        let der = explicit_content(&mut certificate, OCTET_STRING)?;
                        self.pfx.certificates.push(der.to_vec());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Decrypts what `encrypted` consists of: an algorithm with its parameters, and bytes with this tag.
    fn decrypt(&mut self, encrypted: &mut DerReader<'_>, tag: u8) -> Result<Vec<u8>, Flaw> {
        let mut algorithm = DerReader(content(encrypted, SEQUENCE)?);
        let data = content(encrypted, tag)?;
        let oid = content(&mut algorithm, OBJECT_IDENTIFIER)?;
        let mut parameters = DerReader(content(&mut algorithm, SEQUENCE)?);
        let decrypted = if oid == PBES2 {
            let mut derivation = DerReader(content(&mut parameters, SEQUENCE)?);
            let mut cipher = DerReader(content(&mut parameters, SEQUENCE)?);
            let oid = content(&mut cipher, OBJECT_IDENTIFIER)?;
            let (key_len, decrypt) = pbes2_cipher(oid).ok_or(Flaw::Algorithm)?;
            let iv = content(&mut cipher, OCTET_STRING)?;
            let mut key = vec![0; key_len];
            self.derive_by_pbkdf2(&mut derivation, &mut key)?;
            decrypt(&key, iv, data)
        } else {
            let (key_len, decrypt) = pkcs12_cipher(oid).ok_or(Flaw::Algorithm)?;
            let salt = content(&mut parameters, OCTET_STRING)?;
            let iterations = self.iterations(&mut parameters)?;
            let digest = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
            let (mut key, mut iv) = (vec![0; key_len], [0; 8]);
            self.derive(digest, 1, salt, iterations, &mut key);
            self.derive(digest, 2, salt, iterations, &mut iv);
            decrypt(&key, &iv, data)
        };
        decrypted.ok_or(Flaw::Password)
    }

    /// Derives key material from the password (RFC 7292, B.2). `id` says what for: 1 is a key, 2 an initialisation
    /// vector, 3 the key of a MAC.
    fn derive(
        &self,
        algorithm: &'static Algorithm,
        id: u8,
        salt: &[u8],
        iterations: NonZeroU32,
        output: &mut [u8],
    ) {
        let block_len = algorithm.block_len();
        let fill_blocks = |bytes: &[u8]| -> Vec<u8> {
            let len = bytes.len().next_multiple_of(block_len);
            bytes.iter().copied().cycle().take(len).collect()
        };
        let mut input = [fill_blocks(salt), fill_blocks(self.utf16)].concat();
        for chunk in output.chunks_mut(algorithm.output_len()) {
            let mut hash = digest(algorithm, &[&vec![id; block_len], &*input].concat());
            for _ in 1..iterations.get() {
                hash = digest(algorithm, hash.as_ref());
            }
            chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
            // The next chunk is of another input: the hash, repeated, and 1 are added to each of its blocks.
            let hash = hash.as_ref().iter().cycle().take(block_len);
            let addend: Vec<u8> = hash.copied().collect();
            for block in input.chunks_mut(block_len) {
                let mut carry = 1;
                for (byte, added) in block.iter_mut().zip(&addend).rev() {
                    let sum = u16::from(*byte) + u16::from(*added) + u16::from(carry);
                    [carry, *byte] = sum.to_be_bytes();
                }
            }
        }
    }

    /// Derives a key from the password as the parameters say (RFC 8018, A.2).
    fn derive_by_pbkdf2(
        &mut self,
        derivation: &mut DerReader<'_>,
        key: &mut [u8],
    ) -> Result<(), Flaw> {
        if content(derivation, OBJECT_IDENTIFIER)? != PBKDF2 {
            return Err(Flaw::Algorithm);
        }
        let mut parameters = DerReader(content(derivation, SEQUENCE)?);
        let salt = content(&mut parameters, OCTET_STRING)?;
        let iterations = self.iterations(&mut parameters)?;
        // The length of the key, which its cipher decides, may precede the MAC. SHA-1 is the default.
        let mac = parameters.find(|(tag, _)| *tag == SEQUENCE);
        let algorithm = match mac {
            None => pbkdf2::PBKDF2_HMAC_SHA1,
            Some((_, mac)) => {
                let oid = content(&mut DerReader(mac), OBJECT_IDENTIFIER)?;
                pbkdf2_algorithm(oid).ok_or(Flaw::Algorithm)?
            }
        };
        pbkdf2::derive(algorithm, iterations, salt, self.utf8.as_bytes(), key);
        Ok(())
    }

    /// Reads a number of iterations. Fails if the file asks for too many of them.
    fn iterations(&mut self, parameters: &mut DerReader<'_>) -> Result<NonZeroU32, Flaw> {
        let digits = content(parameters, INTEGER)?;
        let append = |number: u32, byte: &u8| number.checked_mul(256)?.checked_add((*byte).into());
        let number = digits.iter().try_fold(0, append);
        let number = number.filter(|number| *number <= MAX_ITERATIONS);
        let number = number.ok_or(Flaw::Iterations)?;
        let left = self.iterations_left.checked_sub(number);
        self.iterations_left = left.ok_or(Flaw::Iterations)?;
        NonZeroU32::new(number).ok_or(Flaw::Malformed)
    }
}

/// The content of the next element, which must have this tag.
fn content<'a>(reader: &mut DerReader<'a>, tag: u8) -> Result<&'a [u8], Flaw> {
    reader.next_content(tag).ok_or(Flaw::Malformed)
}

/// The content of the element with this tag that is in the next element, `[0]`.
fn explicit_content<'a>(reader: &mut DerReader<'a>, tag: u8) -> Result<&'a [u8], Flaw> {
    content(&mut DerReader(content(reader, CONTENT)?), tag)
}

fn decrypt<D: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let decryptor = D::new_from_slices(key, iv).ok()?;
    decryptor.decrypt_padded_vec::<Pkcs7>(data).ok()
}

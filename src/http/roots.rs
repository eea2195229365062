//! The roots that a server's certificate may chain to, and where they come from: texts in PEM, and directories of such
//! files.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{io, iter, mem};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::input;
use crate::log;
use crate::request::pem;

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Root certificates. Of each source only the first one is read immediately, which shows that there is one. The others are
/// read when a server's certificate does not chain to those that were: a directory takes milliseconds of CPU time, and the
/// certificates of Azure's services chain to the built-in roots.
pub struct Roots {
    /// The certificates that were read.
    pub store: RootCertStore,
    unread: Vec<Box<dyn Iterator<Item = CertificateDer<'static>> + Send>>,
}

impl Roots {
    /// Roots without a source of others.
    pub fn new(store: RootCertStore) -> Roots {
        Roots {
            store,
            unread: Vec::new(),
        }
    }

    /// Adds a source of certificates. Returns whether it has one that can be used.
    pub fn add(
        &mut self,
        mut source: impl Iterator<Item = CertificateDer<'static>> + Send + 'static,
    ) -> bool {
        let has_one = source.any(|certificate| self.store.add(certificate).is_ok());
        self.unread.push(Box::new(source));
        has_one
    }

    /// Reads what is unread. Returns whether there are more certificates than before.
    pub fn read_all(&mut self) -> bool {
        let sources = mem::take(&mut self.unread).into_iter();
        let (added, _) = self.store.add_parsable_certificates(sources.flatten());
        added > 0
    }
}

/// The certificates in texts in PEM, each of them once.
pub fn certificates_in(
    texts: impl Iterator<Item = Vec<u8>> + Send,
) -> impl Iterator<Item = CertificateDer<'static>> + Send {
    let mut known = Vec::new();
    texts
        .flat_map(certificates_in_base64)
        .filter_map(move |base64| {
            if known.contains(&base64) {
                return None;
            }
            let certificate = pem::decode_base64(&base64)?;
            known.push(base64);
            Some(certificate.into())
        })
}

/// The certificates in a text in PEM, each in base64.
fn certificates_in_base64(pem: Vec<u8>) -> impl Iterator<Item = String> + Send {
    // The check of from_utf8_lossy takes ten times as long.
    let text = String::from_utf8(pem)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let mut position = 0;
    iter::from_fn(move || {
        loop {
            let start = position + text[position..].find(PEM_BEGIN)? + PEM_BEGIN.len();
            let rest = &text[start..];
            // Base64 has no such character.
            let (base64, after) = rest.split_at(rest.find('-').unwrap_or(rest.len()));
            position = start + base64.len();
            if after.starts_with(PEM_END) {
                return Some(base64.to_owned());
            }
        }
    })
}

/// The certificates in the files of a directory. One such as /etc/ssl/certs has each certificate three times: in a file,
/// by a link to it whose name is a hash, and in a bundle. Other files are skipped.
pub fn certificates_in_directory(
    directory: &Path,
) -> io::Result<impl Iterator<Item = CertificateDer<'static>> + Send + use<>> {
    let entries = fs::read_dir(directory)?.filter_map(Result::ok);
    // The device and inode of each file that was read.
    let mut files = Vec::new();
    let texts = entries.filter_map(move |entry| {
        let path = entry.path();
        let is_new = |file: &Metadata| {
            let id = (file.dev(), file.ino());
            let is_known = files.contains(&id);
            files.extend((!is_known).then_some(id));
            !is_known
        };
        input::read_if(&path, input::MAX_SIZE, is_new).unwrap_or_else(|error| {
            log::debug(|| format!("SSL_CERT_DIR: `{}` is skipped: {error}", path.display()));
            None
        })
    });
    Ok(certificates_in(texts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn certificates_are_read_when_they_are_needed() {
        let new = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let [one, two] = ["one", "two"].map(|name| new(name).cert.pem());
        let broken = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        let texts = [
            format!("# a comment\n{broken}{PEM_BEGIN}\n{one}"),
            format!("{two}{one}{two}"),
        ];
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let texts = texts.map(String::into_bytes).into_iter();
        let source = certificates_in(texts).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let mut roots = Roots::new(RootCertStore::empty());
        assert!(roots.add(source));
        assert_eq!((roots.store.len(), taken.load(Ordering::Relaxed)), (1, 2));
        assert!(roots.read_all());
        assert_eq!((roots.store.len(), taken.load(Ordering::Relaxed)), (2, 3));
        assert!(!roots.read_all());
        assert!(!roots.add(certificates_in(iter::once(broken.into()))));
    }
}

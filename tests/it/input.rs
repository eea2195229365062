//! Files whose paths come from outside and which are not what they should be: named pipes, devices, sockets,
//! directories, and files that are too large. None is waited for or read.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::azure::{Azure, Endpoint};
use crate::support::{Run, akv_init};
use crate::support_identities::Source;
use crate::support_inherited as inherited;
use crate::support_requests::{assert_got_it, one_secret};
use crate::support_scratch::Scratch;

/// A named pipe, and a writer that waits until the program opens it, and then closes it: the program would read nothing
/// from it, so that the test fails instead of waiting.
struct Pipe {
    path: PathBuf,
    was_opened: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

impl Pipe {
    fn new(path: PathBuf) -> Pipe {
        mkfifo(&path, Mode::S_IRWXU).expect("it is new");
        let was_opened = Arc::new(AtomicBool::new(false));
        let is_over = Arc::new(AtomicBool::new(false));
        let (end, opened, over) = (path.clone(), was_opened.clone(), is_over.clone());
        let writer = thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let end = OpenOptions::new().write(true).open(&end);
                opened.store(true, Ordering::SeqCst);
                drop(end);
            }
        });
        Pipe {
            path,
            was_opened,
            is_over,
            writer,
        }
    }

    /// Asserts that no run has opened it.
    #[track_caller]
    fn assert_untouched(&self) {
        let was_opened = self.was_opened.load(Ordering::SeqCst);
        assert!(!was_opened, "{} was opened", self.path.display());
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The writer may be about to open its end.
        while !self.writer.is_finished() {
            let mut options = OpenOptions::new();
            let reader = options.read(true).custom_flags(libc::O_NONBLOCK);
            drop(reader.open(&self.path));
            thread::yield_now();
        }
    }
}

/// A run that cannot have more memory than this, whatever it tries to read.
fn limited(run: Run) -> Run {
    run.with(|command| inherited::limit(command, Resource::RLIMIT_AS, 1 << 29, 1 << 29))
}

/// A file of 700 MiB that takes no space.
fn large_file(path: &Path) {
    let file = File::create(path).expect("it is new");
    file.set_len(700 << 20).expect("it takes no space");
}

#[test]
fn file_of_a_setting_that_is_not_regular_or_too_large_is_an_error_at_once() {
    let azure = Azure::start();
    let large = azure.dir().join("large");
    large_file(&large);
    let socket = azure.dir().join("socket");
    let _listener = UnixListener::bind(&socket).expect("it is new");
    let pipe = Pipe::new(azure.dir().join("pipe"));
    let zero = Path::new("/dev/zero");
    for (source, setting) in [
        (Source::Secret, "AKV_INIT_CA_FILE"),
        (Source::Secret, "SSL_CERT_FILE"),
        (Source::Workload, "AZURE_FEDERATED_TOKEN_FILE"),
        (Source::Secret, "AZURE_CLIENT_SECRET_FILE"),
        (Source::Certificate, "AZURE_CLIENT_CERTIFICATE_PATH"),
        (Source::TokenProxy, "AZURE_KUBERNETES_CA_FILE"),
    ] {
        for path in [&pipe.path, zero, &large, &socket, azure.dir()] {
            let mut run = source.token(&azure, &[]).env(setting, path);
            if setting == "AZURE_CLIENT_SECRET_FILE" {
                run = run.without("AZURE_CLIENT_SECRET");
            }
            let failure = limited(run).failure(78, "config");
            pipe.assert_untouched();
            failure.names(setting).names(path.to_str().unwrap());
        }
    }
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 0);
}

#[test]
fn largest_file_that_is_read_has_one_mebibyte() {
    let azure = Azure::start();
    let file = azure.dir().join("bundle.pem");
    let mut bundle = fs::read(azure.ca_file()).unwrap();
    let run = || one_secret(&azure, &[]).env("AKV_INIT_CA_FILE", &file);
    bundle.resize(1 << 20, b'\n');
    fs::write(&file, &bundle).unwrap();
    assert_got_it(&run().outcome());
    bundle.push(b'\n');
    fs::write(&file, &bundle).unwrap();
    run().failure(78, "config").names("AKV_INIT_CA_FILE");
}

/// Such a directory often has other files too. All of it is read to find a CA that is not there.
#[test]
fn other_files_beside_the_certificates_are_skipped() {
    let (azure, another) = (Azure::start(), Azure::start());
    let directory = azure.dir().join("certs");
    fs::create_dir(&directory).expect("it is new");
    fs::copy(another.ca_file(), directory.join("ca.crt")).unwrap();
    large_file(&directory.join("proxy.log"));
    symlink("/dev/zero", directory.join("device")).unwrap();
    let pipe = Pipe::new(directory.join("pipe"));
    let run = || {
        let run = one_secret(&azure, &["--verbose"]).without("SSL_CERT_FILE");
        limited(run.env("SSL_CERT_DIR", &directory))
    };
    let outcome = run().json().outcome();
    let lines = outcome.lines_of("debug");
    pipe.assert_untouched();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    for name in ["proxy.log", "device", "pipe"] {
        let path = directory.join(name).display().to_string();
        let is_named = |line: &serde_json::Value| line["message"].as_str().unwrap().contains(&path);
        assert!(lines.iter().any(is_named), "{path} in {}", outcome.stderr);
    }
}

#[test]
fn command_that_is_a_named_pipe_is_not_executable() {
    let scratch = Scratch::new();
    for verb in ["exec", "check"] {
        let pipe = Pipe::new(PathBuf::from(scratch.path(verb)));
        let path = pipe.path.to_str().unwrap().to_owned();
        let outcome = akv_init([verb, "--", &path]).outcome();
        pipe.assert_untouched();
        assert_eq!(outcome.code, Some(126), "{outcome:?}");
        assert!(format!("{outcome:?}").contains(&path), "{outcome:?}");
    }
}

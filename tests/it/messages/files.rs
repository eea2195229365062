//! `write`, `--memfd` and `install`.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};

use super::book::Page;
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, akv_init, exec};
use crate::support_inherited as inherited;
use crate::support_listen::Listened;
use crate::support_namespaces::cover;
use crate::support_scratch::Scratch;

/// A directory of volumes, and a vault.
struct Place {
    azure: Azure,
    scratch: Scratch,
}

impl Place {
    fn new(page: &mut Page) -> Place {
        let (azure, scratch) = (Azure::start(), Scratch::new());
        page.know(&azure);
        page.replace(scratch.path("").trim_end_matches('/'), "/run");
        page.replace(&format!(", {}:{})", geteuid(), getegid()), ", 1000:1000)");
        azure.secret("sql-sa", "hunter2");
        azure.secret("quoted", "it's $5");
        azure.secret("large", &"x".repeat(20_000));
        Place { azure, scratch }
    }

    /// An empty directory.
    fn volume(&self, name: &str) -> String {
        self.scratch.directory(name)
    }

    /// A run that writes this secret of the vault into a file.
    fn write(&self, dir: &str, target: &str, words: &[&str]) -> Run {
        let secret = format!("--secret={target}=akv://{}/sql-sa", self.azure.vault());
        self.writing(dir, &[&[secret.as_str()], words].concat())
    }

    fn writing(&self, dir: &str, words: &[&str]) -> Run {
        akv_init(["write", "--timeout=0"])
            .args(words)
            .args([dir])
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.imds())
            .env("SSL_CERT_FILE", self.azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", self.azure.vault())
    }
}

pub fn written(page: &mut Page) {
    let place = Place::new(page);
    let volume = place.volume("secrets");
    page.run(place.write(&volume, "password", &["--require-tmpfs"]));
    for _ in 0..2 {
        page.run(place.write(&volume, "password", &["--verbose"]));
    }
    page.run(place.write(&volume, "password", &["--layout=atomic"]));
    page.run(place.write(&volume, "password/of-sa", &[]));
    fs::create_dir(format!("{volume}/directory")).expect("it is new");
    page.run(place.write(&volume, "directory", &[]));
    let limited = place.write(&volume, "large", &[]);
    page.run(limited.with(|command| inherited::limit(command, Resource::RLIMIT_FSIZE, 0, 0)));
    let socket = UnixListener::bind(format!("{volume}/socket")).expect("it is new");
    page.run(place.write(&volume, "socket", &[]));
    drop(socket);
    for output in ["dotenv:.env", "k8s-env:.env"] {
        let secret = format!("--secret=QUOTED=akv://{}/quoted", place.azure.vault());
        page.run(place.writing(&volume, &["--output", output, &secret]));
    }

    let atomic = place.volume("atomic");
    for target in ["password", "password", "another"] {
        page.run(place.write(&atomic, target, &["--layout=atomic", "--verbose"]));
    }
    page.run(place.write(&atomic, "another", &[]));
    fs::remove_file(format!("{atomic}/..data")).expect("it is there");
    symlink("elsewhere", format!("{atomic}/..data")).expect("it is gone");
    page.run(place.write(&atomic, "another", &["--layout=atomic"]));
    fs::remove_file(format!("{atomic}/..data")).expect("it is there");
    fs::create_dir(format!("{atomic}/..data")).expect("it is gone");
    page.run(place.write(&atomic, "another", &["--layout=atomic"]));

    page.run(place.write(&place.scratch.path("absent"), "password", &[]));
    page.run(place.write(&place.scratch.file("file", b"", 0o644), "password", &[]));
    symlink("secrets", place.scratch.path("link")).expect("it is new");
    page.run(place.write(&place.scratch.path("link"), "password", &[]));
    let owner = format!("{}:{}", geteuid(), getegid());
    page.replace(&format!("belongs to {owner}"), "belongs to 1000:1000");
    page.replace(&format!("runs as {owner}"), "runs as 1000:1000");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o555)).expect("it is ours");
    let run = place.write(&volume, "password", &["--mode=0400"]);
    page.run(run.with(inherited::obey_permissions));
    let tmpfs = place.volume("tmpfs");
    let large = format!("--secret=large=akv://{}/large", place.azure.vault());
    let run = place.writing(&tmpfs, &[&large]);
    page.run(run.with(|command| cover(command, &tmpfs, "size=4k", 0)));
    let run = place.write(&tmpfs, "password", &[]);
    page.run(run.with(|command| cover(command, &tmpfs, "", libc::MS_RDONLY)));
}

/// While Azure is unavailable.
pub fn kept(page: &mut Page) {
    let place = Place::new(page);
    let volume = place.volume("secrets");
    let keep = |words: &[&str]| place.write(&volume, "password", words).outcome();
    assert_eq!(keep(&["--keep-existing"]).code, Some(0));
    place.azure.close(Endpoint::Imds);
    page.record(&keep(&["--keep-existing"]));
    page.run(place.write(&volume, "another", &["--keep-existing"]));
    let token = "--secret=token=entra-token:https://database.windows.net/";
    page.run(place.writing(&volume, &["--keep-existing", token]));
    let manifest = format!("{volume}/..akv-init.json");
    let text = fs::read_to_string(&manifest).expect("it was written");
    for first_digit in ["", "9"] {
        let old = text.replace("\"written\":1", &format!("\"written\":{first_digit}"));
        fs::remove_file(&manifest).expect("it is ours");
        fs::write(&manifest, old).expect("it is ours");
        page.record(&keep(&["--keep-existing=1h"]));
    }
}

/// By rounds.
pub fn refreshed(page: &mut Page) {
    let place = Place::new(page);
    let azure = &place.azure;
    let volume = place.volume("secrets");
    let optional = format!("--secret=maybe=akv://{}/quoted?optional", azure.vault());
    let mut run = Listened::start(place.write(&volume, "password", &["--every=15m", &optional]));
    run.until("wrote ");
    azure.always(Endpoint::Vault, Response::rbac());
    run.signal(Signal::SIGHUP);
    run.until("stay as they are");
    azure.clear(Endpoint::Vault);
    let deleted = Response::vault_error(404, "SecretNotFound", None, "deleted");
    azure.always_for(Endpoint::Vault, "/secrets/quoted", deleted);
    run.signal(Signal::SIGHUP);
    run.until("removed 1");
    run.signal(Signal::SIGTERM);
    page.record(&run.outcome());
    azure.clear(Endpoint::Vault);

    let volume = place.volume("fresh");
    let once = place.write(&volume, "password", &["--layout=atomic", "--keep-existing"]);
    assert_eq!(once.outcome().code, Some(0));
    let mut run = Listened::start(place.write(&volume, "password", &["--every=15m", "--verbose"]));
    run.until("the next round");
    run.signal(Signal::SIGTERM);
    page.record(&run.outcome());
}

/// What COMMAND inherits; and `install`.
pub fn others(page: &mut Page) {
    let place = Place::new(page);
    let memfd = format!(
        "--memfd=DB_PASSWORD_FILE=akv://{}/sql-sa",
        place.azure.vault()
    );
    let run = exec(&place.azure, [&memfd, "--", "/bin/true"]);
    page.run(run.with(|command| inherited::limit(command, Resource::RLIMIT_FSIZE, 0, 0)));
    let run = exec(&place.azure, [&memfd, "--", "/bin/true"]);
    page.run(run.with(|command| inherited::limit(command, Resource::RLIMIT_NOFILE, 64, 64)));
    let volume = place.volume("shared");
    let run = exec(&place.azure, [&memfd, "--", "/bin/true"]);
    page.run(run.with(|command| cover(command, "/proc", "", 0)));
    let install = || akv_init(["install", &volume]);
    page.run(install().with(|command| cover(command, "/proc", "", 0)));
    page.run(install().with(|command| cover(command, &volume, "", libc::MS_NOEXEC)));
    let _ = File::open(&volume);
}

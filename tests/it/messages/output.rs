//! Standard output, and JSON lines.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;

use super::book::Page;
use super::time::listen;
use super::vault::prod_kv;
use crate::azure::{Azure, Endpoint, Response};
use crate::memory::out_of_memory;
use crate::support::{Run, akv_init};
use crate::support_identities::{Source, outcome_without_stdout};
use crate::support_inherited as inherited;

/// By `get` and `token`, and a text.
pub fn printed(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.secret("sql-sa", "hunter2");
    let get = || {
        let reference = format!("akv://{}/sql-sa", azure.vault());
        akv_init(["get", &reference])
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault())
    };
    let full = || {
        OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    for run in [
        get(),
        Source::Imds.token(&azure, &[]),
        akv_init(["--version"]),
    ] {
        let run = run.with(|command| {
            command.stdout(Stdio::from(full()));
        });
        page.record(&outcome_without_stdout(run));
    }
    let closed = get().with(|command| inherited::close(command, &[1]));
    page.record(&outcome_without_stdout(closed));
    let terminal = openpty(None, None).expect("there are terminals");
    let run = get().with(|command| {
        command.stdout(Stdio::from(terminal.slave));
    });
    page.record_all(&outcome_without_stdout(run));
    let _ = File::from(terminal.master).read_to_end(&mut Vec::new());
}

/// One line of each kind.
pub fn json(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let as_json = |run: Run| run.env("AKV_INIT_LOG_FORMAT", "json");
    let exec = |command: &str| as_json(akv_init(["exec", "--", command]));
    page.run(exec("/absent"));
    page.record(&out_of_memory(as_json));
    page.run(exec("/"));
    page.run(as_json(akv_init([
        "write",
        "--secret=a=akv://kv1/sql-sa",
        "/absent",
    ])));
    page.run(as_json(prod_kv(&azure, &["--timeout=0"])).env("AKV_INIT_TIMEOUTS", "5m"));
    azure.next(Endpoint::Vault, Response::rbac());
    azure.next(Endpoint::Imds, Response::usual().hold());
    let run = as_json(prod_kv(&azure, &["--timeout=0", "--verbose"]));
    page.record(&listen(&azure, run, Endpoint::Imds, "connected to "));
    azure.next(Endpoint::Imds, Response::usual().hold());
    let before = azure.requests_at(Endpoint::Imds).len();
    let running = as_json(prod_kv(&azure, &[])).spawn();
    azure.wait_for(Endpoint::Imds, before + 1);
    running.signal(Signal::SIGTERM);
    page.record(&running.outcome());
}

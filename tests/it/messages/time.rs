//! Progress, the deadline, and the steps of --verbose.

use nix::sys::signal::Signal;
use serde_json::json;

use super::book::Page;
use super::vault::prod_kv;
use crate::azure::{Azure, Endpoint, OTHER_TENANT, Response, Stored};
use crate::support::{Outcome, Run, exec};
use crate::support_identities::Source;
use crate::support_listen::Listened;
use crate::support_requests::{NAME, one_secret};

/// The progress lines, and the line of a signal.
pub fn progress(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.secret(NAME, "hunter2");
    azure.next(Endpoint::Vault, Response::status(503));
    azure.next(Endpoint::Vault, Response::usual().hold());
    let mut run = Listened::start(prod_kv(&azure, &[]));
    run.until("still ");
    azure.release();
    page.record_all(&run.outcome());
    let busy = Response::throttled().header("Retry-After", "90");
    azure.next(Endpoint::Vault, busy);
    let mut run = Listened::start(prod_kv(&azure, &["--throttle-timeout=10m"]));
    run.until("still ");
    run.signal(Signal::SIGTERM);
    page.record_all(&run.outcome());
    azure.next(Endpoint::Imds, Response::usual().hold());
    let running = one_secret(&azure, &[]).spawn();
    azure.wait_for(Endpoint::Imds, 3);
    running.signal(Signal::SIGTERM);
    page.record(&running.outcome());
}

pub fn deadline(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.next(
        Endpoint::Vault,
        Response::throttled().header("Retry-After", "300"),
    );
    page.run(prod_kv(&azure, &[]));
    azure.always(Endpoint::Vault, Response::usual().hold());
    page.run(prod_kv(&azure, &["--timeout=3"]));
}

/// Several secrets that cannot be read, each for another reason.
pub fn several(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.put(Stored {
        enabled: false,
        ..Stored::new("api-key", "x")
    });
    azure.always_for(Endpoint::Vault, "/secrets/tls-key", Response::firewall());
    let mut words = vec!["--timeout=0".to_owned()];
    for name in ["absent", "api-key", "tls-key"] {
        let target = name.to_ascii_uppercase().replace('-', "_");
        words.push(format!("--secret={target}=akv://{}/{name}", azure.vault()));
    }
    words.extend(["--", "/bin/true"].map(str::to_owned));
    page.run(exec(&azure, words));
}

/// A run whose request is held until it prints this.
pub fn listen(azure: &Azure, run: Run, endpoint: Endpoint, until: &str) -> Outcome {
    let before = azure.requests_at(endpoint).len();
    let mut run = Listened::start(run);
    azure.wait_for(endpoint, before + 1);
    run.until(until);
    azure.release();
    run.outcome()
}

/// What `--verbose` adds. An answer that is held lets the connection to the vault go first, which is opened meanwhile.
pub fn steps(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.secret(NAME, "hunter2");
    azure.next(Endpoint::Imds, Response::status(503).hold());
    let run = prod_kv(&azure, &["--verbose"]);
    page.record(&listen(&azure, run, Endpoint::Imds, "connected to "));
    let token = "--secret=PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net";
    page.run(exec(&azure, ["--verbose", token, "--", "/bin/true"]));
    let expired = Response::vault_error(401, "Unauthorized", None, "[TokenExpired] 'S2S12086'.");
    azure.next(Endpoint::Vault, expired);
    let token = Response::token(json!({"expires_on": "1643312761"}));
    azure.next(Endpoint::Imds, token.hold());
    let run = prod_kv(&azure, &["--verbose"]);
    page.record(&listen(&azure, run, Endpoint::Imds, "connected to "));
    azure.trust(OTHER_TENANT);
    azure.next(Endpoint::Login, Response::usual().hold());
    let run = Source::Workload.exec(&azure, &["--verbose"]);
    page.record(&listen(&azure, run, Endpoint::Login, "connected to "));
    azure.close(Endpoint::Vault);
    azure.next(Endpoint::Imds, Response::usual().hold());
    let run = one_secret(&azure, &["--verbose", "--timeout=0"]);
    page.record(&listen(&azure, run, Endpoint::Imds, "connecting to "));

    let azure = Azure::builder()
        .name("prod.vault.emulator.test")
        .vault_resource("https://vault.emulator.test")
        .start();
    page.know(&azure);
    azure.secret(NAME, "hunter2");
    let secret = "DB_PASSWORD=akv://prod.vault.emulator.test/sql-sa";
    let run = exec(&azure, ["--verbose", "--secret", secret, "--", "/bin/true"]);
    let run = run.without("AKV_INIT_ALLOW_VAULT");
    page.run(run.env("HTTPS_PROXY", azure.proxy()));
}

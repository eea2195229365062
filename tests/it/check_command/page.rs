//! The page about troubleshooting shows a check that is well and one that is not, as they are.

use std::os::unix::fs::symlink;

#[path = "../../../examples/capture.rs"]
mod capture;

use super::report::{links, unfolded};
use super::run;
use crate::azure::{Azure, Endpoint, Response};
use crate::support_identities::with;
use crate::support_pages::{blocks, page, section};

const PAGE: &str = "docs/troubleshooting.md";

/// What the stand-in says, as Azure would: its hosts, addresses and authorities have other names there, and nobody has
/// one authority for all.
fn as_azure_has_it(azure: &Azure, port: &str, report: &str) -> String {
    let login = format!("127.0.0.1:{port}");
    let ours = " issued by akv-init fake Azure (a private CA)";
    let pairs = [
        ("VAULT".to_owned(), "prod-kv.vault.azure.net"),
        ("/vaults/localhost/".to_owned(), "/vaults/prod-kv/"),
        (login, "login.microsoftonline.com"),
        (format!("{}/", azure.dir().display()), "/opt/mssql/bin/"),
        (
            "127.0.0.1: an IP address (this machine)".to_owned(),
            "login.microsoftonline.com: 20.190.160.14 (public)",
        ),
        (
            "localhost: 127.0.0.1 (this machine), from /etc/hosts".to_owned(),
            "prod-kv.vault.azure.net: 10.20.0.7 (private)",
        ),
        (
            format!("127.0.0.1{ours}"),
            "login.microsoftonline.com issued by DigiCert SHA2 Secure Server CA",
        ),
        (
            format!("localhost{ours}"),
            "*.vault.azure.net issued by Microsoft Azure RSA TLS Issuing CA 07",
        ),
    ];
    let pairs = pairs.iter();
    pairs.fold(report.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn page_shows_the_report_of_check() {
    let azure = Azure::start();
    azure.secret("sql-sa-password", "pa$$w0rd");
    let command = azure.dir().join("sqlservr");
    symlink("/bin/true", &command).unwrap();
    let login = azure.login();
    let port = login.rsplit(':').next().unwrap();
    let run = || {
        let reference = format!("akv://{}/sql-sa-password", azure.vault());
        run(&azure, "check", &["--", command.to_str().unwrap()])
            .without("AZURE_POD_IDENTITY_AUTHORITY_HOST")
            .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .env("MSSQL_SA_PASSWORD", reference)
    };
    // By an address, so that it is another name than the vault's.
    let well = with(run(), &azure.workload_environment())
        .env("AZURE_AUTHORITY_HOST", format!("https://127.0.0.1:{port}"));
    let page = page(PAGE);
    let shown = blocks(section(&page, "check"), "text");
    assert_eq!(shown.len(), 2);
    for ((run, code), shown) in [(well, 0), (run(), 78)].into_iter().zip(shown) {
        let outcome = run.outcome();
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(code), ""),
            "{}",
            outcome.stdout
        );
        let report = as_azure_has_it(&azure, port, &unfolded(&azure, &outcome.stdout));
        let why = "read it, and if it is as it should be, put it into docs/troubleshooting.md";
        assert_eq!(report, unfolded(&azure, shown), "{why}");
    }
}

/// And an error as a log collector gets it.
#[test]
fn page_shows_an_error_as_json() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::disabled());
    let run = run(&azure, "exec", &["--log-format", "json", "--", "/bin/true"]);
    let run = run.env(
        "DB_PASSWORD",
        format!("akv://{}/db-password", azure.vault()),
    );
    let outcome = run.outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(66), ""));
    let said = outcome
        .stderr
        .replace(&azure.vault(), "prod-kv.vault.azure.net");
    let page = page(PAGE);
    let shown = blocks(section(&page, "`--log-format json`"), "json").concat();
    assert_eq!(links(&said), links(&shown));
}

/// The picture in the README is that of these reports.
#[test]
fn picture_shows_the_reports_of_the_page() {
    assert!(
        capture::picture(&page(PAGE)) == page("docs/images/check.svg"),
        "run `cargo run --example capture < {PAGE} > docs/images/check.svg`"
    );
}

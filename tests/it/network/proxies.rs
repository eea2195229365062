//! Proxies: real names through a tunnel, who goes through it and who does not, and what is said when it does not open.

use super::wire::{VALUE, all_at_once, counts};
use crate::azure::{Answer, Azure, Door, TENANT};
use crate::support::{Run, exec, exec_federated};

/// A run that wants one secret of a vault by its real name.
fn wanting(azure: &Azure) -> Run {
    azure.secret("sql-sa", VALUE);
    exec(azure, ["--verbose"]).args(words("prod-kv"))
}

fn words(vault: &str) -> [String; 5] {
    [
        "--secret",
        &format!("S=akv://{vault}/sql-sa"),
        "--",
        "printenv",
        "S",
    ]
    .map(str::to_owned)
}

#[track_caller]
fn assert_through(azure: &Azure, run: Run) {
    let before = azure.requests_at(Door::Proxy).len();
    let outcome = run.outcome();
    assert_eq!(outcome.stdout, format!("{VALUE}\n"), "{}", outcome.stderr);
    assert_eq!(azure.requests_at(Door::Proxy).len(), before + 1);
}

#[test]
fn the_tunnel_is_asked_for_by_the_vaults_name_and_carries_its_tls() {
    let azure = Azure::start();
    assert_through(&azure, wanting(&azure).env("HTTPS_PROXY", azure.proxy()));
    let tunnel = azure.requests_at(Door::Proxy).pop().unwrap();
    assert_eq!(
        (tunnel.method.as_str(), tunnel.target.as_str()),
        ("CONNECT", "prod-kv.vault.azure.net:443")
    );
    assert_eq!(tunnel.header("proxy-authorization"), None);
    assert_eq!(tunnel.header("authorization"), None);
    let request = azure.requests_at(Door::Vault).pop().unwrap();
    assert_eq!(
        (request.host.as_str(), request.sni.as_deref()),
        ("prod-kv.vault.azure.net", Some("prod-kv.vault.azure.net"))
    );
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn entra_is_asked_through_it_and_imds_never() {
    let azure = Azure::start();
    azure.secret("sql-sa", VALUE);
    let run = exec_federated(&azure, words("prod-kv"))
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
        .env("HTTPS_PROXY", azure.proxy());
    assert_eq!(run.outcome().stdout_alone(), format!("{VALUE}\n"));
    let mut targets: Vec<String> = azure
        .requests_at(Door::Proxy)
        .into_iter()
        .map(|request| request.target)
        .collect();
    targets.sort();
    assert_eq!(
        targets,
        [
            "login.microsoftonline.com:443",
            "prod-kv.vault.azure.net:443"
        ]
    );
    let asked = azure.requests_at(Door::Login).pop().unwrap();
    assert_eq!(asked.target, format!("/{TENANT}/oauth2/v2.0/token"));
    let run = wanting(&azure).env("HTTPS_PROXY", azure.proxy());
    assert_through(&azure, run);
    assert_eq!(
        azure.requests_at(Door::Proxy)[2].target,
        "prod-kv.vault.azure.net:443"
    );
}

#[test]
fn every_way_to_write_it_is_understood() {
    let azure = Azure::start();
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    for url in [
        azure.proxy(),
        format!("{}/", azure.proxy()),
        bare.clone(),
        format!("HTTP://{bare}"),
        format!(" {} ", azure.proxy()),
    ] {
        let run = wanting(&azure).env("HTTPS_PROXY", &url);
        assert_through(&azure, run);
        let run = wanting(&azure).env("https_proxy", &url);
        assert_through(&azure, run);
    }
    // Upper case first; an empty variable is none.
    let run = wanting(&azure)
        .env("HTTPS_PROXY", azure.proxy())
        .env("https_proxy", "http://127.0.0.1:1");
    assert_through(&azure, run);
    let run = wanting(&azure)
        .env("HTTPS_PROXY", "")
        .env("https_proxy", azure.proxy());
    assert_through(&azure, run);
}

#[test]
fn connections_are_opened_early_through_it_too() {
    let azure = Azure::start();
    azure.next(Door::Imds, Answer::usual().hold());
    let run = wanting(&azure).env("HTTPS_PROXY", azure.proxy()).spawn();
    azure.wait_for(Door::Imds, 1);
    azure.wait_for_connections(Door::Vault, 1);
    assert_eq!(counts(&azure), [1, 0, 0]);
    azure.release();
    assert_eq!(run.outcome().code, Some(0));
    assert_eq!(azure.requests_at(Door::Proxy).len(), 1);
}

#[test]
fn credentials_in_the_url_are_sent_and_never_shown() {
    for (credentials, written) in [
        ("user:s3cr3t", "user:s3cr3t"),
        ("user:p@ss/w0rd s3cr3t", "user:p%40ss%2Fw0rd%20s3cr3t"),
    ] {
        let azure = Azure::builder().proxy_credentials(credentials).start();
        let bare = azure.proxy().trim_start_matches("http://").to_owned();
        let run = wanting(&azure).env("HTTPS_PROXY", format!("http://{written}@{bare}"));
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{written}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("s3cr3t"), "{}", outcome.stderr);
        for request in azure.requests() {
            let sent = request.header("proxy-authorization").is_some();
            assert_eq!(sent, request.door == Door::Proxy, "{:?}", request.door);
        }
    }
}

#[test]
fn wrong_credentials_are_asked_for_by_the_setting_and_not_shown() {
    let azure = Azure::builder().proxy_credentials("user:right").start();
    azure.secret("sql-sa", VALUE);
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    for written in ["", "user:s3cr3t@", "s3cr3t@"] {
        let run = exec(&azure, words("prod-kv"));
        let run = run.env("HTTPS_PROXY", format!("http://{written}{bare}"));
        run.outcome().failed(
            78,
            &[
                &format!(
                    "error: reading secret `sql-sa` from prod-kv.vault.azure.net for S: the proxy {bare} wants other \
                     credentials: 407"
                ),
                "hint: put them into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT",
            ],
        );
    }
    assert_eq!(counts(&azure)[2], 0);
    // Nor in any debug line.
    let run = wanting(&azure).env("HTTPS_PROXY", format!("http://user:s3cr3t@{bare}"));
    let outcome = run.outcome();
    assert!(!outcome.stderr.contains("s3cr3t"), "{}", outcome.stderr);
}

/// Names under `.invalid` show which way was taken: the proxy refuses them, and DNS does not know them.
#[test]
fn exceptions_do_not_go_through_it() {
    let azure = Azure::start();
    let host = "kv1.invalid";
    let run = || {
        exec(&azure, ["--timeout", "0"])
            .args(words(host))
            .env("AKV_INIT_ALLOW_VAULT", host)
            .env("HTTPS_PROXY", azure.proxy())
    };
    assert_eq!(run().outcome().code, Some(78));
    let tunnels = azure.requests_at(Door::Proxy).len();
    assert!(tunnels > 0);
    // Go's own list of cases is a unit test beside the code.
    let rows = [
        ("NO_PROXY", "*"),
        ("NO_PROXY", "example.com, KV1.INVALID"),
        ("no_proxy", ".invalid"),
    ];
    all_at_once(rows, |(name, exceptions)| {
        let outcome = run().env(name, exceptions).outcome();
        assert_eq!(outcome.code, Some(69), "{exceptions}: {}", outcome.stderr);
    });
    assert_eq!(azure.requests_at(Door::Proxy).len(), tunnels);
    for others in [
        "example.com",
        "v1.invalid",
        "kv1.invalid:8443",
        "10.0.0.0/8",
        "",
    ] {
        let outcome = run().env("NO_PROXY", others).outcome();
        assert_eq!(outcome.code, Some(78), "{others}: {}", outcome.stderr);
    }
}

/// Go's rule, and with it that of everything else in a cluster.
#[test]
fn this_machine_is_never_reached_through_it() {
    let azure = Azure::start();
    let run = super::wire::one_secret(&azure, &[]).env("HTTPS_PROXY", azure.proxy());
    super::wire::assert_got_it(&run.outcome());
    assert_eq!(azure.connections(Door::Proxy), 0);
}

#[test]
fn other_variables_name_no_proxy_for_https() {
    let azure = Azure::start();
    let mut run = exec(&azure, ["--timeout", "0"])
        .args(words("kv1.invalid"))
        .env("AKV_INIT_ALLOW_VAULT", "kv1.invalid");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        run = run.env(name, azure.proxy());
    }
    assert_eq!(run.outcome().code, Some(69));
    assert_eq!(azure.connections(Door::Proxy), 0);
}

#[test]
fn what_is_no_proxy_is_refused_without_being_shown() {
    let azure = Azure::start();
    for (value, why) in [
        ("http://user:s3cr3t@", "this is not a proxy's URL"),
        ("http://user:s3cr3t@ho st:1", "this is not a proxy's URL"),
        (
            "socks5://user:s3cr3t@127.0.0.1:1080",
            "only http:// and https:// proxies can be used",
        ),
        (
            "ftp://user:s3cr3t@127.0.0.1:21",
            "this is not a proxy's URL",
        ),
    ] {
        for name in ["HTTPS_PROXY", "https_proxy"] {
            let outcome = wanting(&azure).env(name, value).outcome();
            assert_eq!(outcome.code, Some(78), "{value}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains("s3cr3t"), "{}", outcome.stderr);
            let error = outcome.error().unwrap_or_default();
            assert_eq!(error, format!("{name}: {why}"), "{value}");
        }
    }
    assert_eq!(super::wire::connections(&azure), 0);
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let azure = Azure::start();
    azure.close(Door::Proxy);
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    let run = exec(&azure, ["--timeout", "0"]).args(words("prod-kv"));
    let line = format!(
        "error: reading secret `sql-sa` from prod-kv.vault.azure.net for S: the proxy {bare}: connection refused"
    );
    run.env("HTTPS_PROXY", format!("http://user:s3cr3t@{bare}"))
        .outcome()
        .failed(
            69,
            &[
                &line,
                "hint: look at HTTPS_PROXY, or name the host in NO_PROXY",
            ],
        );
}

#[test]
fn a_proxy_that_breaks_off_is_tried_again() {
    for answer in [Answer::fin(), Answer::reset()] {
        let azure = Azure::start();
        azure.next(Door::Proxy, answer.clone());
        azure.next(Door::Proxy, answer);
        let outcome = wanting(&azure).env("HTTPS_PROXY", azure.proxy()).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(azure.requests_at(Door::Proxy).len(), 3);
    }
}

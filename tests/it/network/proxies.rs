//! Proxies: real names through a tunnel, hosts that use it and hosts that do not, and tunnels that fail.

use crate::azure::{Azure, Endpoint, Response, TENANT};
use crate::support::{NO_OPTIONS, Run, akv_init, exec, exec_federated};
use crate::support_identities::{Source, with};
use crate::support_requests::{VALUE, counts};
use crate::support_tables::in_parallel;

const REFERENCE: &str = "akv://prod-kv/sql-sa";

/// A run that reads one secret of a vault by its real name.
fn reading(azure: &Azure) -> Run {
    azure.secret("sql-sa", VALUE);
    exec(azure, ["--verbose"]).printing(&[REFERENCE])
}

#[track_caller]
fn assert_through(azure: &Azure, run: Run) {
    let before = azure.requests_at(Endpoint::Proxy).len();
    let outcome = run.outcome();
    assert_eq!(outcome.stdout, format!("{VALUE}\n"), "{}", outcome.stderr);
    assert_eq!(azure.requests_at(Endpoint::Proxy).len(), before + 1);
}

#[test]
fn tunnel_has_the_vaults_name_and_carries_its_tls() {
    let azure = Azure::start();
    assert_through(&azure, reading(&azure).env("HTTPS_PROXY", azure.proxy()));
    let tunnel = azure.requests_at(Endpoint::Proxy).pop().unwrap();
    assert_eq!(
        (tunnel.method.as_str(), tunnel.target.as_str()),
        ("CONNECT", "prod-kv.vault.azure.net:443")
    );
    assert_eq!(tunnel.header("proxy-authorization"), None);
    assert_eq!(tunnel.header("authorization"), None);
    let request = azure.requests_at(Endpoint::Vault).pop().unwrap();
    assert_eq!(
        (request.host.as_str(), request.sni.as_deref()),
        ("prod-kv.vault.azure.net", Some("prod-kv.vault.azure.net"))
    );
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn entra_is_reached_through_the_proxy_and_imds_is_not() {
    let azure = Azure::start();
    azure.secret("sql-sa", VALUE);
    let run = exec_federated(&azure, NO_OPTIONS)
        .printing(&[REFERENCE])
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
        .env("HTTPS_PROXY", azure.proxy());
    assert_eq!(run.outcome().stdout_alone(), format!("{VALUE}\n"));
    let mut targets: Vec<String> = azure
        .requests_at(Endpoint::Proxy)
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
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    assert_eq!(request.target, format!("/{TENANT}/oauth2/v2.0/token"));
    let run = reading(&azure).env("HTTPS_PROXY", azure.proxy());
    assert_through(&azure, run);
    assert_eq!(
        azure.requests_at(Endpoint::Proxy)[2].target,
        "prod-kv.vault.azure.net:443"
    );
}

#[test]
fn every_form_of_the_url_is_accepted() {
    let azure = Azure::start();
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    for url in [
        azure.proxy(),
        format!("{}/", azure.proxy()),
        bare.clone(),
        format!("HTTP://{bare}"),
        format!(" {} ", azure.proxy()),
    ] {
        let run = reading(&azure).env("HTTPS_PROXY", &url);
        assert_through(&azure, run);
        let run = reading(&azure).env("https_proxy", &url);
        assert_through(&azure, run);
    }
    // Upper case first; an empty variable is none.
    let run = reading(&azure)
        .env("HTTPS_PROXY", azure.proxy())
        .env("https_proxy", "http://127.0.0.1:1");
    assert_through(&azure, run);
    let run = reading(&azure)
        .env("HTTPS_PROXY", "")
        .env("https_proxy", azure.proxy());
    assert_through(&azure, run);
}

#[test]
fn early_connections_use_the_proxy() {
    let azure = Azure::start();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let run = reading(&azure).env("HTTPS_PROXY", azure.proxy()).spawn();
    azure.wait_for(Endpoint::Imds, 1);
    azure.wait_for_connections(Endpoint::Vault, 1);
    assert_eq!(counts(&azure), [1, 0, 0]);
    azure.release();
    assert_eq!(run.outcome().code, Some(0));
    assert_eq!(azure.requests_at(Endpoint::Proxy).len(), 1);
}

#[test]
fn credentials_of_the_url_are_sent_and_not_shown() {
    for (credentials, written) in [
        ("user:s3cr3t", "user:s3cr3t"),
        ("user:p@ss/w0rd s3cr3t", "user:p%40ss%2Fw0rd%20s3cr3t"),
    ] {
        let azure = Azure::builder().proxy_credentials(credentials).start();
        let bare = azure.proxy().trim_start_matches("http://").to_owned();
        let run = reading(&azure).env("HTTPS_PROXY", format!("http://{written}@{bare}"));
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{written}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("s3cr3t"), "{}", outcome.stderr);
        for request in azure.requests() {
            let sent = request.header("proxy-authorization").is_some();
            assert_eq!(
                sent,
                request.endpoint == Endpoint::Proxy,
                "{:?}",
                request.endpoint
            );
        }
    }
}

#[test]
fn wrong_credentials_are_a_configuration_error_and_not_shown() {
    let azure = Azure::builder().proxy_credentials("user:right").start();
    azure.secret("sql-sa", VALUE);
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    for written in ["", "user:s3cr3t@", "s3cr3t@"] {
        let run = exec(&azure, ["--verbose"]).printing(&[REFERENCE]);
        let run = run.env("HTTPS_PROXY", format!("http://{written}{bare}"));
        let failure = run.failure(78, "config");
        failure
            .names(&bare)
            .hint_names("HTTPS_PROXY")
            .omits("s3cr3t");
    }
    assert_eq!(counts(&azure)[2], 0);
}

/// By `exec` and by `check`.
#[test]
fn schemes_that_a_proxy_offers_are_named() {
    let azure = Azure::start();
    azure.secret("sql-sa", VALUE);
    let refusal = |headers: &str| {
        let text = format!("HTTP/1.1 407 Required\r\nContent-Length: 0\r\n{headers}\r\n");
        Response::raw(text.as_bytes())
    };
    let negotiate = "Proxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n";
    for (headers, named, hint) in [
        (negotiate, "Negotiate, NTLM", "Basic"),
        (
            "Proxy-Authenticate:Digest realm=\"s3cr3t\"\r\n",
            "Digest",
            "Basic",
        ),
        (
            "Proxy-Authenticate: negotiate, Basic realm=\"s3cr3t\"\r\n",
            "Basic, Negotiate",
            "PASSWORD",
        ),
        ("Proxy-Authenticate: s3cr3t\r\n", "(407)", "PASSWORD"),
    ] {
        azure.always(Endpoint::Proxy, refusal(headers));
        let run = exec(&azure, ["--verbose"]).printing(&[REFERENCE]);
        let failure = run.env("HTTPS_PROXY", azure.proxy()).failure(78, "config");
        failure.names(named).hint_names(hint).omits("s3cr3t");
        let run = akv_init(["check"]).env("S", REFERENCE);
        let run = with(run, &Source::Imds.environment(&azure));
        let outcome = run.env("HTTPS_PROXY", azure.proxy()).outcome();
        assert_eq!(outcome.code, Some(78), "{outcome:?}");
        for text in [named, hint] {
            assert!(outcome.stdout.contains(text), "{}", outcome.stdout);
        }
    }
}

#[test]
fn proxy_that_does_not_understand_connect_is_not_a_configuration_error() {
    let azure = Azure::start();
    azure.always(Endpoint::Proxy, Response::text(100, ""));
    let run = exec(&azure, ["--timeout", "0"]).printing(&[REFERENCE]);
    let run = run.env("HTTPS_PROXY", azure.proxy());
    let failure = run.failure(69, "unavailable");
    failure.names("100").hint_names("HTTPS_PROXY");
}

/// The exit code shows the route: the proxy rejects the tunnel (78), and without it there is no connection (69), since DNS
/// knows no name under `.invalid` and TCP has no multicast addresses. Most rows are Go's own cases:
/// golang.org/x/net/http/httpproxy, proxy_test.go, `UseProxyTests`.
#[test]
fn no_proxy_names_hosts_that_do_not_use_the_proxy() {
    let azure = Azure::start();
    azure.always(Endpoint::Proxy, Response::text(403, "no"));
    let list = "foo.invalid, .barbaz.invalid, *.WILD.invalid, 224.168.1.1, 224.168.1.2:81, 224.168.1.3:443, \
                226.0.0.0/30, ff02:db8::52:0:1, [ff02:db8::52:0:2]:443, ff03:db8:a::45/64, ports.invalid:444, \
                226.1.0.0/33, wrong.invalid:port, foo.invalid/8,,";
    let rows = [
        (list, "224.168.1.1", 69),
        (list, "224.168.1.2", 78),
        (list, "224.168.1.2:81", 69),
        (list, "224.168.1.3", 69),
        (list, "224.168.1.3:444", 78),
        (list, "226.0.0.2", 69),
        (list, "226.0.0.4", 78),
        (list, "226.1.0.1", 78),
        (list, "[ff02:db8::52:0:1]", 69),
        (list, "[ff02:db8::52:0:2]", 69),
        (list, "[ff02:db8::52:0:3]", 78),
        (list, "[ff03:db8:a::123]", 69),
        (list, "[ff04::424b:c8be:1643:a1b6]", 78),
        (list, "barbaz.invalid", 78),
        (list, "www.barbaz.invalid", 69),
        (list, "wild.invalid", 78),
        (list, "a.wild.invalid", 69),
        (list, "foobarbaz.invalid", 78),
        (list, "foo.invalid", 69),
        (list, "www.foo.invalid", 69),
        (list, "foofoo.invalid", 78),
        (list, "ports.invalid", 78),
        (list, "ports.invalid:444", 69),
        (list, "wrong.invalid", 78),
        ("*", "kv1.invalid", 69),
        ("*", "224.0.0.1", 69),
        ("0.0.0.0/0", "226.0.0.4", 69),
        ("0.0.0.0/0", "[ff02::1]", 78),
        ("::/0", "[ff02::1]", 69),
        ("", "kv1.invalid", 78),
    ];
    in_parallel(rows, |(list, host, code)| {
        for name in ["NO_PROXY", "no_proxy"] {
            let outcome = exec(&azure, ["--timeout", "0"])
                .printing(&[format!("akv://{host}/sql-sa")])
                .env("AKV_INIT_ALLOW_VAULT", host)
                .env("HTTPS_PROXY", azure.proxy())
                .env(name, list)
                .outcome();
            assert_eq!(outcome.code, Some(code), "{host}: {}", outcome.stderr);
        }
    });
}

/// Go's rule, and therefore that of other programs in a cluster.
#[test]
fn loopback_addresses_do_not_use_the_proxy() {
    let azure = Azure::start();
    let run = crate::support_requests::one_secret(&azure, &[]).env("HTTPS_PROXY", azure.proxy());
    crate::support_requests::assert_got_it(&run.outcome());
    assert_eq!(azure.connections(Endpoint::Proxy), 0);
}

#[test]
fn other_variables_do_not_name_a_proxy_for_https() {
    let azure = Azure::start();
    let mut run = exec(&azure, ["--timeout", "0"])
        .printing(&["akv://kv1.invalid/sql-sa"])
        .env("AKV_INIT_ALLOW_VAULT", "kv1.invalid");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        run = run.env(name, azure.proxy());
    }
    assert_eq!(run.outcome().code, Some(69));
    assert_eq!(azure.connections(Endpoint::Proxy), 0);
}

#[test]
fn malformed_url_is_rejected_and_not_shown() {
    let azure = Azure::start();
    for value in [
        "http://user:s3cr3t@",
        "http://user:s3cr3t@ho st:1",
        "socks5://user:s3cr3t@127.0.0.1:1080",
        "ftp://user:s3cr3t@127.0.0.1:21",
    ] {
        for name in ["HTTPS_PROXY", "https_proxy"] {
            let failure = reading(&azure).env(name, value).failure(78, "config");
            failure.names(name).omits("s3cr3t");
        }
    }
    assert_eq!(crate::support_requests::connections(&azure), 0);
}

#[test]
fn proxy_that_refuses_the_connection_is_named() {
    let azure = Azure::start();
    azure.close(Endpoint::Proxy);
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    let run = exec(&azure, ["--timeout", "0"]).printing(&[REFERENCE]);
    let run = run.env("HTTPS_PROXY", format!("http://user:s3cr3t@{bare}"));
    let failure = run.failure(69, "unavailable");
    failure.names(&bare).hint_names("NO_PROXY").omits("s3cr3t");
}

#[test]
fn lost_connection_to_the_proxy_is_retried() {
    for response in [Response::fin(), Response::reset()] {
        let azure = Azure::start();
        azure.next(Endpoint::Proxy, response.clone());
        azure.next(Endpoint::Proxy, response);
        let outcome = reading(&azure).env("HTTPS_PROXY", azure.proxy()).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(azure.requests_at(Endpoint::Proxy).len(), 3);
    }
}

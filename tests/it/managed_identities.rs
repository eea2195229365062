//! The managed identity endpoints, all of them by the same checks: IMDS, App Service (also Functions and Container
//! Apps), Azure ML (also the App Service of 2017), Cloud Shell and the agent of Azure Arc. What only one of them does is
//! in `imds.rs` and `arc.rs`; which of them is chosen is in `identity_sources.rs`.

mod refusals;
mod responses;

use crate::azure::{APPLICATION, Azure, Endpoint, IDENTITY_HEADER, Identity, MSI_SECRET, Request};
use crate::support::Run;
use crate::support_identities::{
    CLIENT, RESOURCE, Source, VAULT, assert_token, only_request, with,
};
use crate::support_listen::Listened;
use crate::support_requests::{connections, headers, query, user_agent};
use crate::support_tables::in_parallel;

const ALL: [Source; 5] = [
    Source::AppService,
    Source::Arc,
    Source::CloudShell,
    Source::Imds,
    Source::MachineLearning,
];

/// The variable that holds the URL of the endpoint.
fn variable(source: Source) -> &'static str {
    match source {
        Source::AppService | Source::Arc => "IDENTITY_ENDPOINT",
        Source::CloudShell | Source::MachineLearning => "MSI_ENDPOINT",
        Source::Imds => "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        _ => panic!("{source:?} is not a managed identity"),
    }
}

#[track_caller]
fn assert_good(source: Source, run: Run) {
    let outcome = run.outcome();
    assert_eq!(
        outcome.code,
        Some(source.good_code()),
        "{source:?}: {outcome:?}"
    );
}

fn last_request(azure: &Azure, source: Source) -> Request {
    azure.requests_at(source.endpoint()).pop().unwrap()
}

#[test]
fn request_is_as_documented() {
    let accept = "accept: application/json";
    let form = "content-type: application/x-www-form-urlencoded";
    let secret = format!("secret: {MSI_SECRET}");
    let own = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    for (source, method, path, version, more) in [
        (
            Source::AppService,
            "GET",
            "/msi/token",
            "2019-08-01",
            own(&[accept, "x-identity-header: UUID"]),
        ),
        (
            Source::Arc,
            "GET",
            "/metadata/identity/oauth2/token",
            "2020-06-01",
            own(&[accept, "metadata: true"]),
        ),
        (
            Source::CloudShell,
            "POST",
            "/oauth2/token",
            "",
            own(&[accept, "content-length: 38", form, "metadata: true"]),
        ),
        (
            Source::Imds,
            "GET",
            "/metadata/identity/oauth2/token",
            "2018-02-01",
            own(&[accept, "metadata: true", "x-ms-client-request-id: UUID"]),
        ),
        (
            Source::MachineLearning,
            "GET",
            "/msi/token",
            "2017-09-01",
            own(&[accept, &secret]),
        ),
    ] {
        let azure = Azure::start();
        assert_good(source, source.token(&azure, &[]));
        let request = only_request(&azure, source.endpoint());
        assert_eq!(connections(&azure), 1, "{source:?}");
        assert_eq!((request.method.as_str(), request.path()), (method, path));
        let mut expected = more;
        expected.extend([format!("host: {}", request.host), user_agent()]);
        expected.sort();
        assert_eq!(headers(&request), expected, "{source:?}");
        // Every reserved character of a value is percent-encoded, so that a proxy or NMI cannot read it differently.
        let resource = "resource=https%3A%2F%2Fvault.azure.net";
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match method {
            "POST" => assert_eq!((request.target.as_str(), body.as_str()), (path, resource)),
            _ => {
                let version = format!("api-version={version}");
                assert_eq!(query(&request), [version, format!("resource={VAULT}")]);
                assert!(request.target.contains(resource), "{}", request.target);
                assert_eq!(body, "");
            }
        }
    }
    let azure = Azure::start();
    assert_good(Source::AppService, Source::AppService.token(&azure, &[]));
    let request = last_request(&azure, Source::AppService);
    assert_eq!(request.header("x-identity-header"), Some(IDENTITY_HEADER));
    assert!(request.host.starts_with("127.0.0.1:"), "{}", request.host);
}

/// The parameters of a request besides the version and the resource.
fn selectors(request: &Request) -> Vec<String> {
    let mut pairs = query(request);
    pairs.retain(|pair| !pair.starts_with("api-version=") && !pair.starts_with("resource="));
    pairs
}

#[test]
fn selector_is_sent_under_the_name_that_the_endpoint_knows() {
    let azure = Azure::start();
    let user = Identity::user(CLIENT);
    azure.identities(&[Identity::system(), user.clone(), Identity::application()]);
    for (source, names) in [
        (
            Source::AppService,
            ["client_id", "principal_id", "mi_res_id"],
        ),
        (Source::Imds, ["client_id", "object_id", "msi_res_id"]),
        (Source::MachineLearning, ["clientid", "", ""]),
    ] {
        let values = [&user.client_id, &user.object_id, &user.resource_id];
        let options = ["--client-id", "--object-id", "--resource-id"];
        let variables = [
            "AKV_INIT_CLIENT_ID",
            "AKV_INIT_OBJECT_ID",
            "AKV_INIT_RESOURCE_ID",
        ];
        for ((name, value), (option, variable)) in
            names.iter().zip(values).zip(options.iter().zip(variables))
        {
            if name.is_empty() {
                continue;
            }
            for run in [
                source.token(&azure, &[option, value]),
                source.token(&azure, &[]).env(variable, value),
            ] {
                assert_token(&azure, &run.outcome());
                let sent = selectors(&last_request(&azure, source));
                assert_eq!(sent, [format!("{name}={value}")], "{source:?}");
            }
        }
        // As the SDKs do.
        let run = source
            .token(&azure, &[])
            .env("AZURE_CLIENT_ID", APPLICATION);
        assert_token(&azure, &run.outcome());
        let sent = selectors(&last_request(&azure, source));
        assert_eq!(sent, [format!("{}={APPLICATION}", names[0])], "{source:?}");
    }
}

#[test]
fn selector_that_the_endpoint_would_ignore_is_rejected() {
    let azure = Azure::start();
    let (object, resource) = (["--object-id", CLIENT], ["--resource-id", RESOURCE]);
    for (source, options, hint) in [
        (Source::MachineLearning, &[object, resource][..], true),
        (
            Source::CloudShell,
            &[["--client-id", CLIENT], object, resource],
            false,
        ),
    ] {
        for option in options {
            let failure = source.token(&azure, option).failure(78, "config");
            assert_eq!(failure.line["hint"].is_string(), hint, "{source:?}");
        }
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn empty_selector_is_rejected() {
    let azure = Azure::start();
    for option in ["--client-id", "--object-id", "--resource-id"] {
        let run = Source::Imds.token(&azure, &[option, ""]);
        run.failure(64, "usage").names(option);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn endpoint_that_is_not_a_url_is_rejected_without_its_value() {
    let azure = Azure::start();
    for source in ALL {
        for url in [
            "127.0.0.1:42356/LEAK",
            "localhost:42356/LEAK",
            "ftp://127.0.0.1/LEAK",
            "http://user:LEAK@127.0.0.1/x",
            "http://127.0.0.1/x#LEAK",
            "http://a b/LEAK",
            "http://",
        ] {
            let run = source.token(&azure, &[]).env(variable(source), url);
            let failure = run.failure(78, "config");
            failure.names(variable(source)).omits("LEAK");
        }
    }
    let url = format!("{}/?LEAK=1", azure.imds());
    let run = Source::Imds
        .token(&azure, &[])
        .env(variable(Source::Imds), url);
    run.failure(78, "config").omits("LEAK");
    assert_eq!(connections(&azure), 0);
}

#[test]
fn header_value_that_cannot_be_sent_is_rejected_without_its_value() {
    let azure = Azure::start();
    for (source, variable) in [
        (Source::AppService, "IDENTITY_HEADER"),
        (Source::MachineLearning, "MSI_SECRET"),
    ] {
        for value in ["LEAK\nx", "LEAK\r\nX-Other: 1", "LEAK\u{7f}"] {
            let options = ["--verbose", "--timeout", "0"];
            let run = source.token(&azure, &options).env(variable, value);
            run.failure(78, "config").names(variable).omits("LEAK");
        }
    }
    assert_eq!(azure.requests_at(Endpoint::Platform).len(), 0);
}

/// A proxy has the identity of another machine, and must not receive the header of this one.
#[test]
fn proxy_is_never_used() {
    let azure = Azure::start();
    for source in ALL {
        let mut run = source.token(&azure, &[]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            run = run
                .env(name, azure.proxy())
                .env(name.to_ascii_lowercase(), azure.proxy());
        }
        assert_good(source, run);
    }
    assert_eq!(azure.connections(Endpoint::Proxy), 0);
}

/// The sidecar of Container Apps, for one, is often not up when the container starts.
#[test]
fn refused_connection_is_retried() {
    in_parallel(ALL, |source| {
        let azure = Azure::builder().closed(source.endpoint()).start();
        let mut run = Listened::start(source.token(&azure, &["--verbose"]).json());
        run.until_attempt(2);
        azure.open(source.endpoint());
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(source.good_code()), "{}", outcome.stderr);
        only_request(&azure, source.endpoint());
    });
}

#[test]
fn endpoint_that_refuses_connections_until_the_deadline_is_unavailable() {
    for source in ALL {
        let azure = Azure::builder().closed(source.endpoint()).start();
        let failure = source
            .token(&azure, &["--timeout", "0"])
            .failure(69, "unavailable");
        let hint = matches!(source, Source::AppService | Source::Arc | Source::Imds);
        assert_eq!(failure.line["hint"].is_string(), hint, "{source:?}");
    }
}

#[test]
fn app_service_endpoint_keeps_its_query() {
    let azure = Azure::start();
    let endpoint = format!("{}/msi/token?slot=blue", azure.platform());
    let source = Source::AppService;
    let run = source.token(&azure, &[]).env("IDENTITY_ENDPOINT", endpoint);
    assert_token(&azure, &run.outcome());
    let sent = query(&only_request(&azure, Endpoint::Platform));
    let expected = [
        "api-version=2019-08-01",
        "resource=https://vault.azure.net",
        "slot=blue",
    ];
    assert_eq!(sent, expected);
}

#[test]
fn variables_of_2019_precede_those_of_2017() {
    let azure = Azure::start();
    let run = Source::AppService.token(&azure, &[]);
    let run = with(run, &azure.machine_learning_environment());
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Endpoint::Platform);
    assert_eq!(request.query("api-version").as_deref(), Some("2019-08-01"));
    assert_eq!(request.header("secret"), None);
}

#[test]
fn azure_ml_uses_its_default_client_id_unless_one_is_selected() {
    let azure = Azure::start();
    let other = "99999999-2222-4333-8444-555555555555";
    azure.identities(&[Identity::user(CLIENT), Identity::user(other)]);
    let token = |options: &[&str]| Source::MachineLearning.token(&azure, options);
    let default = |run: Run| run.env("DEFAULT_IDENTITY_CLIENT_ID", CLIENT);
    for (run, sent) in [
        (default(token(&[])), CLIENT),
        (default(token(&["--client-id", other])), other),
        (default(token(&[])).env("AZURE_CLIENT_ID", other), other),
    ] {
        assert_token(&azure, &run.outcome());
        let request = last_request(&azure, Source::MachineLearning);
        assert_eq!(selectors(&request), [format!("clientid={sent}")]);
    }
}

/// Without a secret it is Cloud Shell's endpoint, whose request is a form.
#[test]
fn empty_msi_secret_is_not_a_secret() {
    let azure = Azure::start();
    let run = Source::CloudShell.token(&azure, &[]).env("MSI_SECRET", "");
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Endpoint::Platform);
    assert_eq!(request.method, "POST");
}

//! The choice of the identity, and managed identity endpoints.

use std::fs;

use serde_json::json;

use super::book::Page;
use crate::arc::machine::{MACHINE, Machine, environment};
use crate::azure::{ARC_KEY_FILE, Azure, Endpoint, Identity, Response};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{CLIENT, RESOURCE, Source, with};
use crate::support_scratch::Scratch;

/// Errors before any request.
pub fn choice(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let token = |words: &[&str], variables: &[(&str, &str)]| {
        with(akv_init(["token"]).args(words), variables)
    };
    page.run(token(&[], &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]));
    page.run(token(
        &[],
        &[("AZURE_TOKEN_CREDENTIALS", "VisualStudioCredential")],
    ));
    let fabric = [
        ("IDENTITY_ENDPOINT", "https://localhost:2377/msi"),
        ("IDENTITY_HEADER", "x"),
        ("IDENTITY_SERVER_THUMBPRINT", "x"),
    ];
    page.run(token(&[], &fabric));
    for variables in [
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "imds")][..],
        &[("IDENTITY_ENDPOINT", "localhost"), ("IDENTITY_HEADER", "x")],
        &[("MSI_ENDPOINT", "localhost")],
        &[("MSI_ENDPOINT", "http://localhost"), ("MSI_SECRET", "a\nb")],
    ] {
        page.run(token(&[], variables));
    }
    let [object, shell] = [Source::MachineLearning, Source::CloudShell]
        .map(|source| source.token(&azure, &["--object-id", CLIENT]));
    page.run(object);
    page.run(shell);
    // An identity of Entra.
    page.run(token(&["--identity=workload"], &[]));
    page.run(Source::Workload.token(&azure, &["--object-id", CLIENT]));
    page.run(Source::Secret.token(&azure, &["--object-id", CLIENT]));
    page.run(token(&["--identity=service-principal"], &[]));
    let workload = |name: &str, value: &str| Source::Workload.token(&azure, &[]).env(name, value);
    page.run(workload("AZURE_TENANT_ID", "the tenant"));
    page.run(workload("AZURE_AUTHORITY_HOST", "http://localhost"));
    page.run(workload("AZURE_KUBERNETES_SNI_NAME", "x"));
    let proxied = |name: &str, value: &str| Source::TokenProxy.token(&azure, &[]).env(name, value);
    page.run(proxied("AZURE_KUBERNETES_TOKEN_PROXY", "localhost"));
    page.run(proxied("AZURE_KUBERNETES_CA_DATA", "x"));
    page.run(proxied("AZURE_KUBERNETES_SNI_NAME", "no host"));
    // Errors on use.
    page.run(workload("AZURE_FEDERATED_TOKEN_FILE", "/absent"));
    page.run(workload("AZURE_FEDERATED_TOKEN_FILE", "/"));
    let empty = azure.dir().join("empty");
    fs::write(&empty, "").expect("it is new");
    let empty = empty.to_str().expect("it is UTF-8");
    page.run(workload("AZURE_FEDERATED_TOKEN_FILE", empty));
    page.run(proxied("AZURE_KUBERNETES_CA_FILE", "/absent"));
    page.run(proxied("AZURE_KUBERNETES_CA_FILE", "/proc/self/cmdline"));
    let once = Source::TokenProxy.token(&azure, &["--timeout=0"]);
    page.run(once.env("AZURE_KUBERNETES_CA_FILE", empty));
}

/// The name of each identity.
pub fn names(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let dry = |run: Run| run.args(["--timeout=0"]);
    for source in Source::ALL {
        azure.always(source.endpoint(), Response::status(418));
        page.run(dry(source.token(&azure, &[])));
    }
    for (option, id) in [
        ("--client-id", CLIENT),
        ("--object-id", CLIENT),
        ("--resource-id", RESOURCE),
    ] {
        page.run(dry(Source::Imds.token(&azure, &[option, id])));
    }
    page.run(Source::MachineLearning.token(&azure, &["--client-id", CLIENT]));
}

pub fn imds(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let token = |words: &[&str]| Source::Imds.token(&azure, &["--timeout=0"]).args(words);
    for answer in [
        Response::imds_not_found(),
        Response::imds_multiple(),
        Response::imds_error(400, "invalid_resource", "AADSTS500011: No such resource."),
        Response::imds_error(
            400,
            "invalid_request",
            "Required metadata header not specified",
        ),
        Response::imds_error(401, "unauthorized_client", "not enabled"),
        Response::imds_error(405, "invalid_request", "only GET is allowed"),
        Response::imds_failed(),
        Response::status(410),
        Response::status(429),
        Response::text(400, "api-version is missing"),
        Response::text(400, "The client_id parameter must be set"),
        Response::nmi_unassigned(),
        Response::nmi(403, "no"),
        Response::docker_desktop(),
        Response::status(403),
    ] {
        azure.next(Endpoint::Imds, answer);
        page.run(token(&[]));
    }
    azure.identities(&[Identity::system()]);
    page.run(token(&["--client-id", CLIENT]));
    let scratch = Scratch::new();
    scratch.file("az", b"", 0o755);
    azure.close(Endpoint::Imds);
    page.run(token(&[]).env("PATH", scratch.path("")));
}

/// App Service, Azure ML, Cloud Shell, Azure Arc.
pub fn platforms(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let token = |source: Source, answer: Response, words: &[&str]| {
        azure.always(Endpoint::Platform, answer);
        source.token(&azure, words)
    };
    let here = Source::AppService;
    page.run(token(here, Response::app_service_no_identity(), &[]));
    page.run(token(
        here,
        Response::app_service_no_identity(),
        &["--client-id", CLIENT],
    ));
    page.run(token(here, Response::status(401), &[]));
    page.run(token(
        here,
        Response::app_service_failed(),
        &["--timeout=0"],
    ));
    let named = "https://vault.example.com";
    page.run(token(here, Response::app_service_failed(), &[named]));
    page.run(token(here, Response::status(429), &["--timeout=0"]));
    for source in [Source::MachineLearning, Source::CloudShell] {
        let text = "The resource is not valid.";
        let answer = Response::cloud_shell_error(400, "invalid_request", text);
        page.run(token(source, answer, &[]));
        page.run(token(source, Response::status(401), &[]));
    }
    let text = "SSO failure: unable to retrieve a token";
    page.run(token(
        Source::MachineLearning,
        Response::text(404, text),
        &["--timeout=0"],
    ));
    let answer =
        Response::cloud_shell_error(400, "AudienceNotSupported", "Audience x is not supported.");
    page.run(token(Source::CloudShell, answer, &[]));
    let inside = |name: &str| {
        let header = format!("Basic realm=/var/opt/azcmagent/tokens/{name}");
        token(Source::Arc, Response::arc_challenge(&header), &[])
    };
    page.run(inside("a.txt"));
    page.run(inside("../a.key"));
    page.run(token(Source::Arc, Response::status(401), &[]));
    page.run(token(
        Source::Arc,
        Response::token(json!({"expires_in": 3599})),
        &[],
    ));
    azure.clear(Endpoint::Platform);
    page.replace(ARC_KEY_FILE, "/var/opt/azcmagent/tokens/ID.key");
    page.run(Source::Arc.token(&azure, &[]));
    let machine = |key: &str, words: &[&str]| -> Outcome {
        let machine = Machine { key, ..MACHINE };
        machine.run(&[&["token"], words].concat(), &environment(&azure))
    };
    page.record(&machine(&"k".repeat(4_097), &[]));
    page.record(&machine("two\nlines", &[]));
    page.record(&machine("another key", &[]));
    page.record(&machine(MACHINE.key, &["--client-id", CLIENT]));
    azure.next(Endpoint::Platform, Response::usual());
    azure.next(
        Endpoint::Platform,
        Response::token(json!({"expires_in": 3599})),
    );
    page.record(&machine(MACHINE.key, &["--client-id", CLIENT]));
}

/// Responses with 200 that are not a token.
pub fn answers(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    for answer in [
        Response::html(200, "<html>Please sign in</html>"),
        Response::json(200, &json!([])),
        Response::json(
            200,
            &json!({"access_token": "t".repeat(20_000), "expires_in": 1}),
        ),
        Response::token(json!({"expires_on": "soon"})),
    ] {
        azure.next(Endpoint::Imds, answer);
        page.run(Source::Imds.token(&azure, &[]));
    }
}

//! Which source is chosen. The wrong identity is worse than none: what the environment names is used or refused by its
//! name, and a pod gets its node's identity only by asking for it.

use crate::azure::{Azure, Door, Identity};
use crate::network::wire::{assert_got_it, connections, counts, one_secret, one_secret_federated};
use crate::support::Run;

const ONE: &str = "11111111-2222-4333-8444-555555555555";

fn with(mut run: Run, variables: &[(&str, &str)]) -> Run {
    for (name, value) in variables {
        run = run.env(name, value);
    }
    run
}

const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "s3cr3t");
const CERTIFICATE: (&str, &str) = ("AZURE_CLIENT_CERTIFICATE_PATH", "/certificates/app.pem");
const ENDPOINT: (&str, &str) = ("IDENTITY_ENDPOINT", "http://127.0.0.1:41564/msi/token");
const HEADER: (&str, &str) = ("IDENTITY_HEADER", "header");
const THUMBPRINT: (&str, &str) = ("IDENTITY_SERVER_THUMBPRINT", "thumbprint");
const MSI: (&str, &str) = ("MSI_ENDPOINT", "http://127.0.0.1:41564/msi/token");
const MSI_SECRET: (&str, &str) = ("MSI_SECRET", "redacted");
const IMDS: (&str, &str) = (
    "IMDS_ENDPOINT",
    "http://169.254.169.254/metadata/identity/oauth2/token",
);
const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "72f9a1b0-86f1-41af-91ab-2d7cd011db47");
const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", ONE);

/// Sources that the environment names and this version cannot use. With `--identity managed` the credentials of an
/// application are passed over, the platforms' own endpoints are not.
#[test]
fn service_fabric_is_refused_by_name_and_nothing_else_is_asked() {
    let azure = Azure::start();
    let line = "error: the environment names Service Fabric's managed identity (IDENTITY_SERVER_THUMBPRINT), which \
                akv-init does not use";
    let hint = "hint: choose another with --identity, or leave the three IDENTITY_ variables out";
    let variables = &[ENDPOINT, HEADER, THUMBPRINT];
    for options in [&[][..], &["--identity", "managed"]] {
        with(one_secret(&azure, options), variables)
            .outcome()
            .failed(78, &[line, hint]);
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn the_token_file_goes_before_every_other_source() {
    let azure = Azure::start();
    let others = [SECRET, CERTIFICATE, ENDPOINT, HEADER, MSI, MSI_SECRET, IMDS];
    assert_got_it(&with(one_secret_federated(&azure, &[]), &others).outcome());
    assert_eq!(counts(&azure), [0, 1, 1]);
}

#[test]
fn identity_managed_passes_over_the_credentials_of_applications() {
    let azure = Azure::start();
    let run = one_secret(&azure, &["--identity", "managed"]);
    let run = with(run, &[TENANT, SECRET, CERTIFICATE])
        .env("AZURE_FEDERATED_TOKEN_FILE", azure.token_file());
    assert_got_it(&run.outcome());
    assert_eq!(counts(&azure), [1, 0, 1]);
    // Its twin does the same.
    let run = one_secret(&azure, &[]).env("AKV_INIT_IDENTITY", "managed");
    assert_got_it(&with(run, &[TENANT, SECRET]).outcome());
    assert_eq!(counts(&azure), [2, 0, 2]);
}

/// Container Instances set `IDENTITY_HEADER` alone; a tenant or a client id says who, not how.
#[test]
fn what_alone_names_no_source_leaves_imds() {
    let azure = Azure::start();
    azure.identities(&[Identity::user(ONE)]);
    for variables in [
        &[HEADER][..],
        &[TENANT],
        &[CLIENT],
        &[TENANT, CLIENT],
        &[THUMBPRINT],
        &[IMDS],
        &[MSI_SECRET],
    ] {
        let outcome = with(one_secret(&azure, &[]), variables).outcome();
        assert_eq!(outcome.code, Some(0), "{variables:?}: {}", outcome.stderr);
    }
    assert_eq!(counts(&azure), [7, 0, 7]);
}

#[test]
fn an_empty_variable_names_no_source() {
    let azure = Azure::start();
    let mut run = one_secret(&azure, &[]);
    for (name, _) in [SECRET, CERTIFICATE, ENDPOINT, HEADER, MSI, IMDS, CLIENT] {
        run = run.env(name, "");
    }
    let run = run
        .env("AZURE_FEDERATED_TOKEN_FILE", "")
        .env("KUBERNETES_SERVICE_HOST", "")
        .env("AKV_INIT_IDENTITY", "");
    assert_got_it(&run.outcome());
    assert_eq!(counts(&azure), [1, 0, 1]);
}

/// IMDS would hand out the node's identity, and the vault would accept it.
#[test]
fn a_pod_without_workload_identity_asks_nobody() {
    let azure = Azure::start();
    let run = one_secret(&azure, &[]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    run.outcome().failed(
        78,
        &[
            "error: this pod has no identity of its own: it is in Kubernetes, and workload identity is not set up for \
             it",
            "hint: label the pod azure.workload.identity/use: \"true\" and annotate its service account with \
             azure.workload.identity/client-id; to use an identity of the node, which all its pods share, name it \
             with --client-id, or --identity managed",
        ],
    );
    assert_eq!(connections(&azure), 0);
}

#[test]
fn a_pod_with_the_labels_variables_gets_its_own_identity() {
    let azure = Azure::start();
    let run = one_secret_federated(&azure, &[]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_got_it(
        &run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .outcome(),
    );
    assert_eq!(counts(&azure), [0, 1, 1]);
}

#[test]
fn a_pod_uses_the_nodes_identity_when_it_is_named() {
    let azure = Azure::start();
    let identity = Identity::user(ONE);
    azure.identities(std::slice::from_ref(&identity));
    for (options, variables) in [
        (&["--identity", "managed"][..], &[][..]),
        (&["--client-id", ONE], &[]),
        (&["--object-id", &identity.object_id], &[]),
        (&["--resource-id", &identity.resource_id], &[]),
        (&[], &[("AKV_INIT_IDENTITY", "managed")]),
        (&[], &[("AKV_INIT_CLIENT_ID", ONE)]),
        (&[], &[CLIENT]),
    ] {
        let run = one_secret(&azure, options).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        let outcome = with(run, variables).outcome();
        assert_eq!(
            outcome.code,
            Some(0),
            "{options:?} {variables:?}: {}",
            outcome.stderr
        );
    }
    assert_eq!(azure.requests_at(Door::Imds).len(), 7);
}

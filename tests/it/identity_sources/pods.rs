//! The same with real requests: which endpoints receive one.

use crate::azure::{Azure, Endpoint, Identity};
use crate::support_identities::with;
use crate::support_requests::{
    assert_got_it, connections, counts, one_secret, one_secret_federated,
};

const ONE: &str = "11111111-2222-4333-8444-555555555555";

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

#[test]
fn token_file_precedes_every_other_source() {
    let azure = Azure::start();
    let others = [SECRET, CERTIFICATE, ENDPOINT, HEADER, MSI, MSI_SECRET, IMDS];
    assert_got_it(&with(one_secret_federated(&azure, &[]), &others).outcome());
    assert_eq!(counts(&azure), [0, 1, 1]);
}

#[test]
fn identity_managed_ignores_the_credentials_of_applications() {
    let azure = Azure::start();
    let run = one_secret(&azure, &["--identity", "managed"]);
    let run = with(run, &[TENANT, SECRET, CERTIFICATE])
        .env("AZURE_FEDERATED_TOKEN_FILE", azure.token_file());
    assert_got_it(&run.outcome());
    assert_eq!(counts(&azure), [1, 0, 1]);
    let run = one_secret(&azure, &[]).env("AKV_INIT_IDENTITY", "managed");
    assert_got_it(&with(run, &[TENANT, SECRET]).outcome());
    assert_eq!(counts(&azure), [2, 0, 2]);
}

/// Container Instances set `IDENTITY_HEADER` alone; a tenant or a client id does not name a source.
#[test]
fn variables_that_name_no_source_leave_imds() {
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
fn empty_variable_names_no_source() {
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

/// IMDS would give out the node's identity, and the vault would accept it.
#[test]
fn pod_without_workload_identity_is_rejected_before_any_request() {
    let azure = Azure::start();
    let run = one_secret(&azure, &[]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    run.failure(78, "config").hinted();
    assert_eq!(connections(&azure), 0);
}

#[test]
fn pod_with_the_variables_of_the_webhook_gets_its_own_identity() {
    let azure = Azure::start();
    let run = one_secret_federated(&azure, &[]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_got_it(
        &run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .outcome(),
    );
    assert_eq!(counts(&azure), [0, 1, 1]);
}

#[test]
fn pod_uses_the_identity_of_its_node_when_it_is_named() {
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
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 7);
}

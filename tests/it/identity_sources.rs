//! Which source of identity is used: the one that `--identity` names, or the one that the environment names, in the order
//! of a table; and `AZURE_TOKEN_CREDENTIALS`, which is read as the SDKs do. A dry run shows the source without a request.

mod pods;

use crate::support::{Run, akv_init};
use crate::support_identities::{CLIENT, with};

type Variables = &'static [(&'static str, &'static str)];

const APP_SERVICE: Variables = &[
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:41564/msi/token"),
    ("IDENTITY_HEADER", "header"),
];
const THUMBPRINT: Variables = &[("IDENTITY_SERVER_THUMBPRINT", "thumbprint")];
const ENDPOINT_OF_ARC: Variables = &[(
    "IDENTITY_ENDPOINT",
    "http://127.0.0.1:40342/metadata/identity/oauth2/token",
)];
const IMDS_OF_ARC: Variables = &[(
    "IMDS_ENDPOINT",
    "http://169.254.169.254/metadata/identity/oauth2/token",
)];
const MSI: Variables = &[("MSI_ENDPOINT", "http://127.0.0.1:41565/msi/token")];
const MSI_SECRET: Variables = &[("MSI_SECRET", "redacted")];
const WHO: Variables = &[
    ("AZURE_TENANT_ID", "contoso.example.com"),
    ("AZURE_CLIENT_ID", CLIENT),
];
const SECRET: Variables = &[("AZURE_CLIENT_SECRET", "LEAK")];
const SECRET_FILE: Variables = &[("AZURE_CLIENT_SECRET_FILE", "/run/secrets/app")];
const CERTIFICATE: Variables = &[("AZURE_CLIENT_CERTIFICATE_PATH", "/certificates/app.pem")];
const TOKEN_FILE: Variables = &[("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token")];
const POD: Variables = &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")];

fn dry_run(groups: &[Variables], options: &[&str]) -> Run {
    let words = [
        &["exec", "--dry-run"],
        options,
        &["--secret", "S=akv://prod-kv/a", "--", "/bin/true"],
    ];
    let run = akv_init(words.concat());
    groups.iter().fold(run, |run, group| with(run, group))
}

/// Asserts that the first line of the plan, the source, contains these facts.
#[track_caller]
fn assert_source(groups: &[Variables], options: &[&str], facts: &[&str]) {
    let outcome = dry_run(groups, options).outcome();
    let plan = outcome.stdout_alone();
    let source = plan.lines().next().unwrap_or_default();
    for fact in facts {
        assert!(source.contains(fact), "{fact} is not in: {source}");
    }
    assert!(!plan.contains("LEAK"), "{plan}");
}

const APP_SERVICE_HOST: &str = "127.0.0.1:41564";
const MSI_HOST: &str = "127.0.0.1:41565";
const ARC_HOST: &str = "127.0.0.1:40342";
const IMDS_HOST: &str = "169.254.169.254";
const ENTRA: &str = "login.microsoftonline.com";
const TENANT: &str = "contoso.example.com";

#[test]
fn environment_chooses_the_source_in_the_order_of_the_table() {
    let secret = &[ENTRA, "secret", CLIENT, TENANT][..];
    let certificate = &[ENTRA, "certificate", CLIENT, TENANT][..];
    let workload = &[ENTRA, "workload identity", CLIENT, TENANT][..];
    for (groups, facts) in [
        (&[][..], &[IMDS_HOST][..]),
        (&[APP_SERVICE], &[APP_SERVICE_HOST]),
        (&[ENDPOINT_OF_ARC, IMDS_OF_ARC], &[ARC_HOST, "Arc"]),
        (&[MSI, MSI_SECRET], &[MSI_HOST]),
        (&[MSI], &[MSI_HOST, "Cloud Shell"]),
        (&[APP_SERVICE, MSI, MSI_SECRET], &[APP_SERVICE_HOST]),
        (
            &[MSI, MSI_SECRET, ENDPOINT_OF_ARC, IMDS_OF_ARC],
            &[MSI_HOST],
        ),
        (&[WHO, TOKEN_FILE], workload),
        (
            &[WHO, TOKEN_FILE, SECRET, CERTIFICATE, APP_SERVICE, MSI],
            workload,
        ),
        (&[WHO, SECRET], secret),
        (&[WHO, SECRET_FILE], secret),
        (&[WHO, CERTIFICATE], certificate),
        (&[WHO, SECRET, CERTIFICATE], secret),
        (&[WHO, SECRET, APP_SERVICE], secret),
        (&[WHO, SECRET, POD], secret),
        (&[APP_SERVICE, POD], &[APP_SERVICE_HOST]),
        (&[WHO, APP_SERVICE], &[APP_SERVICE_HOST, CLIENT]),
        // A client id alone selects one of the machine's identities.
        (&[WHO], &[IMDS_HOST, CLIENT]),
        // Container Instances set this one alone.
        (&[&[("IDENTITY_HEADER", "header")]], &[IMDS_HOST]),
        (&[THUMBPRINT], &[IMDS_HOST]),
        (&[IMDS_OF_ARC], &[IMDS_HOST]),
        (&[MSI_SECRET], &[IMDS_HOST]),
    ] {
        assert_source(groups, &[], facts);
    }
}

const EVERYTHING: &[Variables] = &[WHO, TOKEN_FILE, SECRET, CERTIFICATE, APP_SERVICE, MSI];

#[test]
fn identity_option_precedes_the_environment() {
    for (name, facts) in [
        ("workload", &[ENTRA, "workload identity"][..]),
        ("service-principal", &[ENTRA, "secret"]),
        ("managed", &[APP_SERVICE_HOST, CLIENT]),
        ("cli", &["az "]),
    ] {
        let pod = [EVERYTHING, &[POD]].concat();
        assert_source(&pod, &["--identity", name], facts);
        let variable: Variables = Box::leak(Box::new([("AKV_INIT_IDENTITY", name)]));
        assert_source(&[&pod[..], &[variable]].concat(), &[], facts);
    }
    let options = ["--identity", "managed"];
    assert_source(&[WHO, TOKEN_FILE, SECRET, POD], &options, &[IMDS_HOST]);
}

/// Its endpoint has a certificate that no authority signed, to be checked by the thumbprint.
#[test]
fn service_fabric_is_rejected_unless_another_source_is_named() {
    for options in [
        &[][..],
        &["--identity", "managed"],
        &["--client-id", CLIENT],
    ] {
        let failure = dry_run(&[APP_SERVICE, THUMBPRINT], options).failure(78, "config");
        failure.names("IDENTITY_SERVER_THUMBPRINT").hinted();
    }
    let principal = [WHO, SECRET, APP_SERVICE, THUMBPRINT];
    assert_source(&principal, &[], &[ENTRA]);
}

/// A template leaves it empty, for example. The machine's identity is another one.
#[test]
fn empty_credential_beside_both_ids_is_half_of_one() {
    for name in [
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_SECRET_FILE",
        "AZURE_CLIENT_CERTIFICATE_PATH",
    ] {
        let empty: Variables = Box::leak(Box::new([(name, "")]));
        for groups in [&[WHO, empty][..], &[WHO, empty, APP_SERVICE]] {
            let failure = dry_run(groups, &[]).failure(78, "config");
            failure.names(name).hinted();
            let managed = dry_run(groups, &["--identity", "managed"]);
            assert_eq!(managed.outcome().code, Some(0), "{name}");
        }
        assert_source(&[&WHO[..1], empty], &[], &[IMDS_HOST]);
        assert_source(&[&WHO[1..], empty], &[], &[IMDS_HOST]);
    }
    // One that is complete is used.
    let empty = &[("AZURE_FEDERATED_TOKEN_FILE", "")];
    assert_source(&[WHO, empty, SECRET], &[], &[ENTRA, "secret"]);
}

#[test]
fn azure_token_credentials_is_read_as_the_sdks_do() {
    let workload = &[ENTRA, "workload identity"][..];
    let secret = &[ENTRA, "secret"][..];
    for (value, facts) in [
        ("", workload),
        ("prod", workload),
        (" PROD ", workload),
        ("dev", &["az "][..]),
        ("AzureCLICredential", &["az "]),
        ("EnvironmentCredential", secret),
        ("environmentcredential", secret),
        ("WorkloadIdentityCredential", workload),
        ("ManagedIdentityCredential", &[APP_SERVICE_HOST]),
        ("  ManagedIdentityCredential\n", &[APP_SERVICE_HOST]),
    ] {
        let variable: Variables = Box::leak(Box::new([("AZURE_TOKEN_CREDENTIALS", value)]));
        let groups = [EVERYTHING, &[variable]].concat();
        assert_source(&groups, &[], facts);
        assert_source(&groups, &["--identity", "cli"], &["az "]);
    }
    for value in [
        "AzurePowerShellCredential",
        "AzureDeveloperCLICredential",
        "production",
        "x",
    ] {
        let variable: Variables = Box::leak(Box::new([("AZURE_TOKEN_CREDENTIALS", value)]));
        let failure = dry_run(&[WHO, SECRET, variable], &[]).failure(78, "config");
        failure.names("AZURE_TOKEN_CREDENTIALS").hinted();
    }
}

#[test]
fn named_credential_that_is_not_set_up_is_rejected() {
    for (value, missing) in [
        ("EnvironmentCredential", "AZURE_CLIENT_SECRET"),
        ("WorkloadIdentityCredential", "AZURE_FEDERATED_TOKEN_FILE"),
    ] {
        let variable: Variables = Box::leak(Box::new([("AZURE_TOKEN_CREDENTIALS", value)]));
        let failure = dry_run(&[WHO, APP_SERVICE, variable], &[]).failure(78, "config");
        failure.names(missing);
    }
}

/// A pod's own identity is its service account's; all pods of a node share the node's.
#[test]
fn pod_uses_the_identity_of_its_node_only_when_it_is_named() {
    let named: Variables = &[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")];
    assert_source(&[POD, named], &[], &[IMDS_HOST]);
    dry_run(&[POD], &[]).failure(78, "config").hinted();
}

//! Which source is asked: the table by what the environment names, what `--identity` names, and `AZURE_TOKEN_CREDENTIALS`
//! as the SDKs read it. A plan shows it, so that nobody has to be asked.

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
const MSI: Variables = &[("MSI_ENDPOINT", "http://127.0.0.1:41564/msi/token")];
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

/// The first line of the plan: which source would be asked. Nobody is.
fn chosen(groups: &[Variables], options: &[&str]) -> Result<String, Vec<String>> {
    let words = [
        &["exec", "--dry-run"],
        options,
        &["--secret", "S=akv://prod-kv/a", "--", "true"],
    ];
    let run: Run = groups
        .iter()
        .fold(akv_init(words.concat()), |run, group| with(run, group));
    let outcome = run.env("PATH", "/usr/bin:/bin").outcome();
    assert!(!format!("{outcome:?}").contains("LEAK"), "{outcome:?}");
    match outcome.code {
        Some(0) => {
            let line = outcome.stdout_alone().lines().next().unwrap_or_default();
            Ok(line
                .strip_prefix("identity  ")
                .expect("the source")
                .to_owned())
        }
        Some(78) => Err(outcome.stderr.lines().map(str::to_owned).collect()),
        _ => panic!("{outcome:?}"),
    }
}

const ENTRA: &str = "client id 11111111-2222-4333-8444-555555555555, tenant contoso.example.com)";

/// The vectors' ids: D1 (see also the machine of Arc), D2, D4, D5, D8, D9; and the rows of the table between them.
#[test]
fn the_environment_chooses_as_the_table_says() {
    let app_service = "the platform's identity endpoint (http://127.0.0.1:41564, managed identity)";
    let of_client = |what: &str| {
        what.replace(
            "managed identity)",
            &format!("managed identity with client id {CLIENT})"),
        )
    };
    let imds = "IMDS (http://169.254.169.254, managed identity)";
    let ml = "MSI_ENDPOINT (http://127.0.0.1:41564, managed identity)";
    let arc = "Azure Arc (http://127.0.0.1:40342, managed identity)";
    let entra = |what: &str| format!("Entra (https://login.microsoftonline.com, {what} {ENTRA}");
    let secret = entra("service principal with a secret,");
    let certificate = entra("service principal with a certificate,");
    let workload = entra("workload identity with");
    for (id, groups, expected) in [
        ("D1", &[][..], imds.to_owned()),
        ("D2", &[APP_SERVICE], app_service.to_owned()),
        ("D4", &[ENDPOINT_OF_ARC, IMDS_OF_ARC], arc.to_owned()),
        ("D5", &[MSI, MSI_SECRET], ml.to_owned()),
        (
            "Cloud Shell",
            &[MSI],
            "Cloud Shell (http://127.0.0.1:41564)".to_owned(),
        ),
        (
            "D8",
            &[APP_SERVICE, MSI, MSI_SECRET],
            app_service.to_owned(),
        ),
        (
            "ML before Arc",
            &[MSI, MSI_SECRET, ENDPOINT_OF_ARC, IMDS_OF_ARC],
            ml.to_owned(),
        ),
        ("D9", &[WHO, TOKEN_FILE], workload.clone()),
        (
            "workload first",
            &[WHO, TOKEN_FILE, SECRET, CERTIFICATE, APP_SERVICE, MSI],
            workload.clone(),
        ),
        ("secret", &[WHO, SECRET], secret.clone()),
        ("secret in a file", &[WHO, SECRET_FILE], secret.clone()),
        ("certificate", &[WHO, CERTIFICATE], certificate.clone()),
        ("secret first", &[WHO, SECRET, CERTIFICATE], secret.clone()),
        (
            "principal before the platform",
            &[WHO, SECRET, APP_SERVICE],
            secret.clone(),
        ),
        ("principal in a pod", &[WHO, SECRET, POD], secret.clone()),
        (
            "platform in a pod",
            &[APP_SERVICE, POD],
            app_service.to_owned(),
        ),
        (
            "platform by client id",
            &[WHO, APP_SERVICE],
            of_client(app_service),
        ),
        ("a client id alone is IMDS's", &[WHO], of_client(imds)),
        (
            "Container Instances",
            &[&[("IDENTITY_HEADER", "header")]],
            imds.to_owned(),
        ),
        ("Container Instances, too", &[THUMBPRINT], imds.to_owned()),
        ("IMDS_ENDPOINT alone", &[IMDS_OF_ARC], imds.to_owned()),
        ("MSI_SECRET alone", &[MSI_SECRET], imds.to_owned()),
    ] {
        assert_eq!(chosen(groups, &[]), Ok(expected), "{id}");
    }
}

/// `--identity` is never second-guessed; a managed identity is then the platform's own, if there is one.
#[test]
fn what_is_named_goes_before_what_is_found() {
    let all = [WHO, TOKEN_FILE, SECRET, CERTIFICATE, APP_SERVICE, MSI, POD];
    for (name, begin) in [
        (
            "workload",
            "Entra (https://login.microsoftonline.com, workload identity with client id",
        ),
        (
            "service-principal",
            "Entra (https://login.microsoftonline.com, service principal with a secret, client id",
        ),
        (
            "managed",
            "the platform's identity endpoint (http://127.0.0.1:41564, managed identity with client id",
        ),
        ("cli", "the Azure CLI (az account get-access-token)"),
    ] {
        let found = chosen(&all, &["--identity", name]).unwrap();
        assert!(found.starts_with(begin), "{name}: {found}");
        let variable: Variables = Box::leak(Box::new([("AKV_INIT_IDENTITY", name)]));
        assert_eq!(chosen(&[&all[..], &[variable]].concat(), &[]), Ok(found));
    }
    let found = chosen(&[WHO, TOKEN_FILE, SECRET, POD], &["--identity", "managed"]).unwrap();
    assert!(found.starts_with("IMDS ("), "{found}");
}

/// D3, SF1, SF2: with its thumbprint it would have to be asked over TLS that nobody can check; named, and refused.
#[test]
fn d3_service_fabric_is_refused_by_name() {
    let line = "akv-init: error: the environment names Service Fabric's managed identity (IDENTITY_SERVER_THUMBPRINT), \
                which akv-init does not use";
    let hint = "akv-init: hint: choose another with --identity, or leave the three IDENTITY_ variables out";
    for options in [
        &[][..],
        &["--identity", "managed"],
        &["--client-id", CLIENT],
    ] {
        let refused = chosen(&[APP_SERVICE, THUMBPRINT], options);
        assert_eq!(refused, Err(vec![line.to_owned(), hint.to_owned()]));
    }
    // Whoever names another source gets that.
    assert!(chosen(&[WHO, SECRET, APP_SERVICE, THUMBPRINT], &[]).is_ok());
}

#[test]
fn azure_token_credentials_is_read_as_the_sdks_do() {
    let all = [WHO, TOKEN_FILE, SECRET, APP_SERVICE];
    let workload = "Entra (https://login.microsoftonline.com, workload identity with";
    let secret = "Entra (https://login.microsoftonline.com, service principal with a secret";
    let platform = "the platform's identity endpoint";
    let cli = "the Azure CLI";
    for (value, begin) in [
        ("", workload),
        ("prod", workload),
        (" PROD ", workload),
        ("dev", cli),
        ("AzureCLICredential", cli),
        ("EnvironmentCredential", secret),
        ("environmentcredential", secret),
        ("WorkloadIdentityCredential", workload),
        ("ManagedIdentityCredential", platform),
        ("  ManagedIdentityCredential\n", platform),
    ] {
        let variable: Variables = Box::leak(Box::new([("AZURE_TOKEN_CREDENTIALS", value)]));
        let groups = [&all[..], &[variable]].concat();
        let found = chosen(&groups, &[]).unwrap();
        assert!(found.starts_with(begin), "{value}: {found}");
        // `--identity` beats it.
        let found = chosen(&groups, &["--identity", "cli"]).unwrap();
        assert!(found.starts_with(cli), "{value}: {found}");
    }
    for value in [
        "AzurePowerShellCredential",
        "AzureDeveloperCLICredential",
        "production",
        "x",
    ] {
        let variable: Variables = Box::leak(Box::new([("AZURE_TOKEN_CREDENTIALS", value)]));
        let refused = chosen(&[&all[..], &[variable]].concat(), &[]).unwrap_err();
        let line = format!(
            "akv-init: error: AZURE_TOKEN_CREDENTIALS: `{value}` is not a credential that akv-init has"
        );
        assert_eq!(refused[0], line);
        assert_eq!(refused.len(), 2, "{refused:?}");
    }
    // One that is named and not there is an error, not a reason to look further.
    let named: Variables = &[("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")];
    let refused = chosen(&[WHO, APP_SERVICE, named], &[]).unwrap_err();
    assert!(
        refused[0].contains("the service principal is not complete"),
        "{refused:?}"
    );
    let named: Variables = &[("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")];
    let refused = chosen(&[WHO, APP_SERVICE, named], &[]).unwrap_err();
    assert!(
        refused[0].contains("workload identity is not complete"),
        "{refused:?}"
    );
}

/// A pod's own identity is its service account's; the node's is shared by all of its pods.
#[test]
fn a_managed_identity_that_is_named_may_be_the_nodes() {
    let named: Variables = &[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")];
    let imds = "IMDS (http://169.254.169.254, managed identity)";
    assert_eq!(chosen(&[POD, named], &[]).as_deref(), Ok(imds));
    let refused = chosen(&[POD], &[]).unwrap_err();
    assert!(
        refused[0].contains("this pod has no identity of its own"),
        "{refused:?}"
    );
}

//! What the tests of identities share: each source by its environment, a run of `token` or `exec` with it, and the search
//! for credentials in the output of a run.

use std::fs;
use std::process::{Child, Stdio};

use crate::azure::{
    ARC_KEY, Azure, CLIENT_SECRET, Endpoint, Environment, IDENTITY_HEADER, MSI_SECRET, Request,
};
use crate::support::{self, Outcome, Run, akv_init};
use crate::support_requests::{NAME, VALUE};

/// The resource id of a managed identity.
pub const RESOURCE: &str = "/subscriptions/5ca1ab1e-0000-4000-8000-000000000001/resourcegroups/apps/providers/\
                            Microsoft.ManagedIdentity/userAssignedIdentities/app";
/// A user-assigned identity for tests of selectors.
pub const CLIENT: &str = "11111111-2222-4333-8444-555555555555";

/// Key Vault's resource, the default of `token`.
pub const VAULT: &str = "https://vault.azure.net";

/// Where a token comes from over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    AppService,
    Arc,
    Certificate,
    CloudShell,
    Imds,
    MachineLearning,
    Secret,
    TokenProxy,
    Workload,
}

impl Source {
    /// All of them; Azure Arc needs a file that only a namespace can have.
    pub const ALL: [Source; 9] = [
        Source::AppService,
        Source::Arc,
        Source::Certificate,
        Source::CloudShell,
        Source::Imds,
        Source::MachineLearning,
        Source::Secret,
        Source::TokenProxy,
        Source::Workload,
    ];

    /// Where the token is requested.
    pub fn endpoint(self) -> Endpoint {
        match self {
            Source::Imds => Endpoint::Imds,
            Source::Certificate | Source::Secret | Source::Workload => Endpoint::Login,
            Source::TokenProxy => Endpoint::TokenProxy,
            Source::AppService | Source::Arc | Source::CloudShell | Source::MachineLearning => {
                Endpoint::Platform
            }
        }
    }

    /// The exit code of a run whose responses are good: without a key file, which needs a namespace, Azure Arc is a
    /// configuration error after its first response.
    pub fn good_code(self) -> i32 {
        if self == Source::Arc { 78 } else { 0 }
    }

    /// The variables that select it.
    pub fn environment(self, azure: &Azure) -> Environment {
        match self {
            Source::AppService => azure.app_service_environment(),
            Source::Arc => azure.arc_environment(),
            Source::Certificate => azure.certificate_environment(),
            Source::CloudShell => azure.cloud_shell_environment(),
            Source::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), azure.imds())],
            Source::MachineLearning => azure.machine_learning_environment(),
            Source::Secret => azure.secret_environment(),
            Source::TokenProxy => azure.token_proxy_environment(),
            Source::Workload => azure.workload_environment(),
        }
    }

    /// `akv-init token` with this source.
    pub fn token(self, azure: &Azure, words: &[&str]) -> Run {
        self.join(azure, akv_init(["token"]).args(words))
    }

    /// `akv-init exec` that puts one secret into a variable and prints it.
    pub fn exec(self, azure: &Azure, options: &[&str]) -> Run {
        azure.secret(NAME, VALUE);
        let reference = format!("S=akv://{}/{}", azure.vault(), NAME);
        let run = support::exec(azure, options)
            .without("AZURE_POD_IDENTITY_AUTHORITY_HOST")
            .args(["--secret", &reference, "--", "printenv", "S"]);
        self.join(azure, run)
    }

    fn join(self, azure: &Azure, run: Run) -> Run {
        with(
            run.env("SSL_CERT_FILE", azure.ca_file()),
            &self.environment(azure),
        )
    }
}

/// A run with these variables.
pub fn with(run: Run, variables: &[(impl AsRef<str>, impl AsRef<str>)]) -> Run {
    variables.iter().fold(run, |run, (name, value)| {
        run.env(name.as_ref(), value.as_ref())
    })
}

/// Runs to the end with the standard output that the run has, rather than a pipe.
pub fn outcome_without_stdout(run: Run) -> Outcome {
    let mut outcome = None;
    drop(run.with(|command| {
        let child = command.stderr(Stdio::piped()).spawn();
        let output = child.and_then(Child::wait_with_output);
        outcome = Some(Outcome::from(output.expect("the binary under test starts")));
    }));
    outcome.expect("the closure was called")
}

/// Asserts that standard output is a token of this fake Azure and that standard error is empty.
#[track_caller]
pub fn assert_token(azure: &Azure, outcome: &Outcome) {
    let token = outcome.stdout_alone();
    assert!(
        azure.tokens().iter().any(|issued| issued == token),
        "{token}"
    );
}

/// The only request of an endpoint.
#[track_caller]
pub fn only_request(azure: &Azure, endpoint: Endpoint) -> Request {
    let mut requests = azure.requests_at(endpoint);
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

/// A token, an assertion, a secret, a key or a platform's header in the output of a run, or one of `more`.
pub fn leak(azure: &Azure, outcome: &Outcome, more: &[&str]) -> Option<String> {
    let files = [azure.token_file().to_owned(), azure.binding_token_file()];
    let assertions = files.map(|file| fs::read_to_string(file).unwrap_or_default());
    let own = azure
        .requests()
        .into_iter()
        .filter_map(|request| request.form("client_assertion"));
    let jwts: Vec<String> = azure
        .tokens()
        .into_iter()
        .chain(assertions)
        .chain(own)
        .collect();
    // The first part of a JWT is the same for all of them, and of no use without the others.
    let mut marks: Vec<String> = jwts
        .iter()
        .flat_map(|jwt| jwt.split('.').skip(1))
        .map(|part| part[..part.len().min(24)].to_owned())
        .collect();
    marks.extend([CLIENT_SECRET, IDENTITY_HEADER, MSI_SECRET, ARC_KEY].map(str::to_owned));
    // The secret, encoded for a form.
    marks.push("%2Be%2Ff%3D%26g%25h".to_owned());
    marks.extend(more.iter().map(|&mark| mark.to_owned()));
    let output = format!("{}{}", outcome.stdout, outcome.stderr);
    let found = marks
        .into_iter()
        .find(|mark| !mark.is_empty() && output.contains(mark.as_str()));
    found.map(|mark| format!("`{mark}` in: {output}"))
}

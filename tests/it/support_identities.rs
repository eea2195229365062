//! What the tests of the sources of identity have in common: each source by its environment and by the name that it
//! has in messages, a run of `token` or `exec` that uses it, and what must never be said, whichever it is.

use std::fs;
use std::process::{Child, Stdio};

use crate::azure::{
    APPLICATION, ARC_KEY, Azure, CLIENT_SECRET, Door, Environment, IDENTITY_HEADER, MSI_SECRET,
    Request, TENANT,
};
use crate::network::wire;
use crate::support::{self, Outcome, Run, akv_init};

/// A user-assigned identity for tests of selectors.
pub const CLIENT: &str = "11111111-2222-4333-8444-555555555555";

/// Key Vault's resource, which `token` asks for where none is named.
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

    /// Who is asked.
    pub fn door(self) -> Door {
        match self {
            Source::Imds => Door::Imds,
            Source::Certificate | Source::Secret | Source::Workload => Door::Login,
            Source::TokenProxy => Door::TokenProxy,
            Source::AppService | Source::Arc | Source::CloudShell | Source::MachineLearning => {
                Door::Platform
            }
        }
    }

    /// What selects it.
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

    /// Its name in messages.
    pub fn describe(self, azure: &Azure) -> String {
        let platform = azure.platform();
        let entra = |what: &str| {
            format!(
                "Entra ({}, {what} client id {APPLICATION}, tenant {TENANT})",
                azure.login()
            )
        };
        match self {
            Source::AppService => {
                format!("the platform's identity endpoint ({platform}, managed identity)")
            }
            Source::Arc => format!("Azure Arc ({platform}, managed identity)"),
            Source::Certificate => entra("service principal with a certificate,"),
            Source::CloudShell => format!("Cloud Shell ({platform})"),
            Source::Imds => format!("IMDS ({}, managed identity)", azure.imds()),
            Source::MachineLearning => format!("MSI_ENDPOINT ({platform}, managed identity)"),
            Source::Secret => entra("service principal with a secret,"),
            Source::TokenProxy => format!(
                "{} through the token proxy {}",
                entra("workload identity with"),
                proxy_origin(azure)
            ),
            Source::Workload => entra("workload identity with"),
        }
    }

    /// How its error line begins, without `error: `.
    pub fn asking(self, azure: &Azure) -> String {
        format!("getting an access token from {}", self.describe(azure))
    }

    /// `akv-init token` with this source.
    pub fn token(self, azure: &Azure, words: &[&str]) -> Run {
        self.join(azure, akv_init(["token"]).args(words))
    }

    /// `akv-init exec` that puts one secret into a variable and prints it.
    pub fn exec(self, azure: &Azure, options: &[&str]) -> Run {
        azure.secret(wire::NAME, wire::VALUE);
        let reference = format!("S=akv://{}/{}", azure.vault(), wire::NAME);
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

fn proxy_origin(azure: &Azure) -> String {
    let url = azure.token_proxy();
    let path = url["https://".len()..].find('/').unwrap_or(0) + "https://".len();
    url[..path].to_owned()
}

/// A run with these variables.
pub fn with(run: Run, variables: &[(impl AsRef<str>, impl AsRef<str>)]) -> Run {
    variables.iter().fold(run, |run, (name, value)| {
        run.env(name.as_ref(), value.as_ref())
    })
}

/// Runs to the end with the standard output that the run has been given, rather than a pipe.
pub fn outcome_without_stdout(run: Run) -> Outcome {
    let mut outcome = None;
    drop(run.with(|command| {
        let child = command.stderr(Stdio::piped()).spawn();
        let output = child.and_then(Child::wait_with_output);
        outcome = Some(Outcome::from(output.expect("the binary under test starts")));
    }));
    outcome.expect("the closure was called")
}

/// Asserts that the run printed a token that this stand-in has issued, alone, and said nothing else.
#[track_caller]
pub fn assert_token(azure: &Azure, outcome: &Outcome) {
    let token = outcome.stdout_alone();
    assert!(
        azure.tokens().iter().any(|issued| issued == token),
        "{token}"
    );
}

/// Asserts that a setting was refused by its name; its value may hold a password. Tests put `LEAK` into it.
#[track_caller]
pub fn assert_refused_without_its_value(outcome: &Outcome, setting: &str) {
    let error = outcome.error().unwrap_or_default();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(78), ""),
        "{}",
        outcome.stderr
    );
    assert!(error.contains(setting), "{error}");
    assert!(!outcome.stderr.contains("LEAK"), "{}", outcome.stderr);
}

/// The one request that came to a door.
#[track_caller]
pub fn only_request(azure: &Azure, door: Door) -> Request {
    let mut requests = azure.requests_at(door);
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

/// The same with the tries' number replaced, where time decides how many there were.
pub fn countless(outcome: Outcome) -> Outcome {
    let mut outcome = wire::timeless(outcome);
    let lines: Vec<String> = outcome
        .stderr
        .lines()
        .map(|line| match line.split_once(", after ") {
            Some((before, after)) => {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                format!("{before}, after N{}\n", &after[digits..])
            }
            None => format!("{line}\n"),
        })
        .collect();
    outcome.stderr = lines.concat();
    outcome
}

/// What a run said that is a token, an assertion, a secret, a key or the header of a platform; more marks are looked
/// for besides.
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
    // The secret as a form has it.
    marks.push("%2Be%2Ff%3D%26g%25h".to_owned());
    marks.extend(more.iter().map(|&mark| mark.to_owned()));
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let found = marks
        .into_iter()
        .find(|mark| !mark.is_empty() && said.contains(mark.as_str()));
    found.map(|mark| format!("`{mark}` in: {said}"))
}

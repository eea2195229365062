//! The stand-in for Azure as a process: for shell scripts, other languages' SDKs and benchmarks.
//!
//! Prints one line for each endpoint (`imds http://…`, `login https://…`, `vault host:port`, `proxy http://…`,
//! `platform http://…`, `token-proxy https://…`), then `ready`. Ends on SIGTERM and SIGINT, and when standard input, if it
//! is a pipe, reaches its end: the process that started it need not clean up. See `USAGE` for the flags. With `--shell`
//! it opens a shell for a user instead.

#[path = "../tests/azure/mod.rs"]
mod azure;
#[path = "shared/playground.rs"]
mod playground;

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use azure::{Azure, Builder, Certificate, Endpoint, Environment, Identity, Response};

const USAGE: &str = "\
usage: standin [FLAGS]
  --shell                    open a shell in which akv-init finds the stand-in, and print what to try there
  --imds|--login|--vault|--proxy|--platform|--token-proxy ADDR:PORT
                             endpoints to open; none given: all, on loopback with free ports
  --name HOST                one more name in the certificates (repeatable)
  --dir DIR                  write ca.pem, leaf.pem, leaf.key, client.pem, token.jwt, requests.jsonl, and the
                             environment of each source of identity (workload.env …) into DIR
  --secret [VAULT/]NAME=VALUE
                             put a secret into every vault, or into that one alone (repeatable)
  --secret-file NAME=PATH    the same with the value that a file holds, byte for byte (repeatable)
  --content-type NAME=TYPE   of a secret that an earlier flag has put (repeatable)
  --disabled NAME            put a disabled secret into every vault (repeatable)
  --identity CLIENT_ID       attach a user-assigned identity (repeatable); none: a system-assigned one
  --delay MS                 wait before each answer of the vault
  --vault-says [SECRET=]WORD each answer of the vault, or each about that secret (repeatable): access-policy, firewall
                             and rbac are refusals, private-endpoint is the one of its public address when only its
                             private endpoint is open, throttled is 429 for an hour, slow is a good answer after 20 s
  --vault-limit COUNT/SECONDS
                             the vault answers so many requests in any window of that time, and 429 to others
  --shows ENDPOINT=WORD      the certificate of an endpoint (repeatable): expired, other-name, unknown-authority
  --ca-name TITLE            what the authority in ca.pem is called
  --proxy-credentials USER:PASSWORD
                             without these the proxy says 407
  --clock SECONDS            everything is dated by a clock that is so far ahead
  --race A,B,C               as a deployment has it: the identity endpoint refuses connections for A seconds, answers
                             404, 429 and 500 for B, then the vault says 403 ForbiddenByRbac for C, then all is well
on standard input, if that is a pipe, one a line, each repeated on standard output when it is done:
  close ENDPOINT, open ENDPOINT
                             connections are refused, accepted again
  delete NAME, deny NAME     that secret is 404 SecretNotFound, 403 ForbiddenByRbac, in every vault
  restore                    every secret is as the flags have put it
  slow TOKEN VAULT           wait so many milliseconds before each token, and before each answer of the vault
";

type Source = (&'static str, &'static [Endpoint], fn(&Azure) -> Environment);

/// Each source of identity, the endpoints that it needs, and its environment.
const SOURCES: [Source; 8] = [
    ("workload", &[Endpoint::Login], Azure::workload_environment),
    ("secret", &[Endpoint::Login], Azure::secret_environment),
    (
        "certificate",
        &[Endpoint::Login],
        Azure::certificate_environment,
    ),
    (
        "token-proxy",
        &[Endpoint::Login, Endpoint::TokenProxy],
        Azure::token_proxy_environment,
    ),
    (
        "app-service",
        &[Endpoint::Platform],
        Azure::app_service_environment,
    ),
    (
        "machine-learning",
        &[Endpoint::Platform],
        Azure::machine_learning_environment,
    ),
    (
        "cloud-shell",
        &[Endpoint::Platform],
        Azure::cloud_shell_environment,
    ),
    ("arc", &[Endpoint::Platform], Azure::arc_environment),
];

fn main() -> ExitCode {
    let (result, usage) = match Setup::parse(std::env::args().skip(1).collect()) {
        Ok(setup) => (run(setup), ""),
        Err(error) => (Err(error), USAGE),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A process that starts this one reads the reason here.
            let _ = write!(io::stderr(), "standin: {error:#}\n{usage}");
            ExitCode::FAILURE
        }
    }
}

fn run(setup: Setup) -> Result<()> {
    // Before any thread: all of them inherit the mask, and only the wait below takes the signals. A shell would inherit it
    // too.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    if !setup.shell {
        signals.thread_block()?;
    }
    let azure = Arc::new(setup.start()?);
    if setup.shell {
        let delay = setup.delay;
        let weak = Arc::downgrade(&azure);
        let obey = move |line: &str| match weak.upgrade() {
            Some(azure) => obey(&azure, line, delay),
            None => Ok(()),
        };
        return playground::run(&azure, obey).map(drop);
    }
    announce(&azure)?;
    if let Some(race) = setup.race {
        let azure = Arc::clone(&azure);
        let delay = setup.delay;
        thread::spawn(move || run_race(&azure, race, delay));
    }
    obey_stdin(&azure, setup.delay)?;
    signals.wait()?;
    Ok(())
}

#[derive(Default)]
struct Setup {
    shell: bool,
    endpoints: Vec<(Endpoint, String)>,
    names: Vec<String>,
    dir: Option<PathBuf>,
    secrets: Vec<azure::Stored>,
    identities: Vec<Identity>,
    delay: Duration,
    /// By the secret that it is about; none: by all.
    vault_says: Vec<(Option<String>, Response)>,
    vault_limit: Option<(usize, Duration)>,
    shows: Vec<(Endpoint, Certificate)>,
    ca_name: Option<String>,
    proxy_credentials: Option<String>,
    clock: i64,
    race: Option<[Duration; 3]>,
}

impl Setup {
    fn parse(arguments: Vec<String>) -> Result<Setup> {
        let mut setup = Setup::default();
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            if flag == "--shell" {
                setup.shell = true;
                continue;
            }
            let value = arguments
                .next()
                .with_context(|| format!("`{flag}` wants a value"))?;
            match flag.as_str() {
                "--imds" => setup.endpoints.push((Endpoint::Imds, value)),
                "--login" => setup.endpoints.push((Endpoint::Login, value)),
                "--vault" => setup.endpoints.push((Endpoint::Vault, value)),
                "--proxy" => setup.endpoints.push((Endpoint::Proxy, value)),
                "--platform" => setup.endpoints.push((Endpoint::Platform, value)),
                "--token-proxy" => setup.endpoints.push((Endpoint::TokenProxy, value)),
                "--name" => setup.names.push(value),
                "--dir" => setup.dir = Some(value.into()),
                "--secret" => {
                    let (name, value) = value
                        .split_once('=')
                        .context("`--secret` wants NAME=VALUE")?;
                    let (vault, name) = match name.split_once('/') {
                        Some((vault, name)) => (Some(vault.to_owned()), name),
                        None => (None, name),
                    };
                    let secret = azure::Stored::new(name, value);
                    setup.secrets.push(azure::Stored { vault, ..secret });
                }
                "--secret-file" => {
                    let (name, path) = value
                        .split_once('=')
                        .context("`--secret-file` wants NAME=PATH")?;
                    let value = fs::read_to_string(path)
                        .with_context(|| format!("reading `{path}` for `{name}`"))?;
                    setup.secrets.push(azure::Stored::new(name, &value));
                }
                "--content-type" => {
                    let (name, kind) = value
                        .split_once('=')
                        .context("`--content-type` wants NAME=TYPE")?;
                    let secret = setup.secrets.iter_mut().find(|secret| secret.name == name);
                    let secret = secret.with_context(|| format!("there is no secret `{name}`"))?;
                    secret.content_type = Some(kind.to_owned());
                }
                "--disabled" => {
                    let secret = azure::Stored::new(&value, "");
                    setup.secrets.push(azure::Stored {
                        enabled: false,
                        ..secret
                    });
                }
                "--identity" => setup.identities.push(Identity::user(&value)),
                "--delay" => setup.delay = Duration::from_millis(value.parse().context("--delay")?),
                "--vault-says" => setup.vault_says.push(parse_vault_says(&value)?),
                "--vault-limit" => setup.vault_limit = Some(parse_limit(&value)?),
                "--shows" => setup.shows.push(parse_shows(&value)?),
                "--ca-name" => setup.ca_name = Some(value),
                "--proxy-credentials" => setup.proxy_credentials = Some(value),
                "--clock" => setup.clock = value.parse().context("--clock")?,
                "--race" => setup.race = Some(parse_race(&value)?),
                _ => bail!("unknown flag `{flag}`"),
            }
        }
        if setup.shell && setup.secrets.is_empty() {
            let secrets = playground::SECRETS.iter();
            setup.secrets = secrets
                .map(|(name, value)| azure::Stored::new(name, value))
                .collect();
        }
        Ok(setup)
    }

    fn start(&self) -> Result<Azure> {
        let mut builder: Builder = Azure::builder();
        if !self.endpoints.is_empty() {
            builder = self
                .endpoints
                .iter()
                .fold(builder.only(), |builder, (endpoint, at)| {
                    builder.at(*endpoint, at)
                });
        }
        builder = self
            .names
            .iter()
            .fold(builder, |builder, name| builder.name(name));
        builder = self
            .shows
            .iter()
            .fold(builder, |builder, (endpoint, word)| {
                builder.certificate(*endpoint, *word)
            })
            .clock(self.clock);
        if let Some(title) = &self.ca_name {
            builder = builder.title(title);
        }
        if let Some(credentials) = &self.proxy_credentials {
            builder = builder.proxy_credentials(credentials);
        }
        if let Some(dir) = &self.dir {
            builder = builder.dir(dir);
        }
        if self.race.is_some() {
            builder = builder.closed(Endpoint::Imds);
        }
        let azure = builder.try_start()?;
        self.secrets
            .iter()
            .for_each(|secret| azure.put(secret.clone()));
        if !self.identities.is_empty() {
            azure.identities(&self.identities);
        }
        slow_down(&azure, self.delay);
        if let Some((count, window)) = self.vault_limit {
            azure.limit(Endpoint::Vault, count, window);
        }
        for (secret, answer) in &self.vault_says {
            let path = match secret {
                Some(name) => format!("/secrets/{name}?"),
                None => String::new(),
            };
            let answer = match self.delay.is_zero() {
                true => answer.clone(),
                false => answer.clone().delay(self.delay),
            };
            azure.always_for(Endpoint::Vault, &path, answer);
        }
        Ok(azure)
    }
}

fn parse_vault_says(text: &str) -> Result<(Option<String>, Response)> {
    let (secret, word) = match text.split_once('=') {
        Some((secret, word)) => (Some(secret.to_owned()), word),
        None => (None, text),
    };
    let answer = match word {
        "access-policy" => Response::access_policy(),
        "firewall" => Response::firewall(),
        "private-endpoint" => Response::private_endpoint(),
        "rbac" => Response::rbac(),
        "slow" => Response::usual().delay(Duration::from_secs(20)),
        "throttled" => Response::throttled().header("Retry-After", "3600"),
        _ => bail!("`--vault-says` does not know `{word}`"),
    };
    Ok((secret, answer))
}

fn parse_limit(text: &str) -> Result<(usize, Duration)> {
    let (count, seconds) = text
        .split_once('/')
        .context("`--vault-limit` wants COUNT/SECONDS")?;
    let seconds = seconds.parse().context("--vault-limit")?;
    Ok((
        count.parse().context("--vault-limit")?,
        Duration::from_secs(seconds),
    ))
}

fn parse_shows(text: &str) -> Result<(Endpoint, Certificate)> {
    let (endpoint, word) = text
        .split_once('=')
        .context("`--shows` wants ENDPOINT=WORD")?;
    let endpoint = Endpoint::ALL
        .into_iter()
        .find(|known| known.name() == endpoint)
        .with_context(|| format!("there is no endpoint `{endpoint}`"))?;
    let certificate = match word {
        "expired" => Certificate::Expired,
        "other-name" => Certificate::OtherName,
        "unknown-authority" => Certificate::UnknownAuthority,
        _ => bail!("`--shows` does not know `{word}`"),
    };
    Ok((endpoint, certificate))
}

fn parse_race(text: &str) -> Result<[Duration; 3]> {
    let seconds: Vec<f64> = text
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("--race")?;
    ensure!(seconds.iter().all(|s| *s >= 0.0), "`--race` wants seconds");
    let [a, b, c] = seconds[..] else {
        bail!("`--race` wants A,B,C")
    };
    Ok([a, b, c].map(Duration::from_secs_f64))
}

fn run_race(azure: &Azure, [refused, failing, denied]: [Duration; 3], delay: Duration) {
    thread::sleep(refused);
    azure.cycle(
        Endpoint::Imds,
        vec![
            Response::status(404),
            Response::status(429),
            Response::imds_failed(),
        ],
    );
    azure.always(Endpoint::Vault, Response::rbac().delay(delay));
    azure.open(Endpoint::Imds);
    thread::sleep(failing);
    azure.clear(Endpoint::Imds);
    thread::sleep(denied);
    azure.clear(Endpoint::Vault);
    slow_down(azure, delay);
}

fn slow_down(azure: &Azure, delay: Duration) {
    if !delay.is_zero() {
        azure.always(Endpoint::Vault, Response::usual().delay(delay));
    }
}

fn announce(azure: &Azure) -> Result<()> {
    let mut lines = String::new();
    for endpoint in Endpoint::ALL
        .into_iter()
        .filter(|endpoint| azure.has(*endpoint))
    {
        let address = match endpoint {
            Endpoint::Imds => azure.imds(),
            Endpoint::Login => azure.login(),
            Endpoint::Platform => azure.platform(),
            Endpoint::TokenProxy => azure.token_proxy(),
            Endpoint::Proxy => azure.proxy(),
            Endpoint::Vault => azure.vault(),
        };
        lines += &format!("{} {address}\n", endpoint.name());
    }
    for (name, needed, environment) in SOURCES {
        if needed.iter().all(|endpoint| azure.has(*endpoint)) {
            let text: String = environment(azure)
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            fs::write(azure.dir().join(format!("{name}.env")), text)?;
        }
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    stdout.write_all(b"ready\n")?;
    stdout.flush()?;
    Ok(())
}

/// A shell gives its background jobs /dev/null, whose end means nothing; the end of a pipe means that its writer is
/// gone.
fn obey_stdin(azure: &Arc<Azure>, delay: Duration) -> Result<()> {
    let kind = fs::metadata("/proc/self/fd/0").map(|metadata| metadata.file_type());
    if kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) {
        let azure = Arc::clone(azure);
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                let said = match obey(&azure, &line, delay) {
                    Ok(()) => line,
                    Err(error) => format!("error: {error:#}"),
                };
                // If it cannot be written, the process that waits for it has ended.
                let _ = writeln!(io::stdout(), "{said}");
            }
            // Not `raise`: that one is for the calling thread, and `wait` is in another.
            kill(Pid::this(), Signal::SIGTERM)
        });
    }
    Ok(())
}

fn obey(azure: &Azure, line: &str, delay: Duration) -> Result<()> {
    let endpoint = |name: &str| {
        let found = Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name);
        found.with_context(|| format!("there is no endpoint `{name}`"))
    };
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["close", name] => azure.close(endpoint(name)?),
        ["open", name] => azure.open(endpoint(name)?),
        ["delete", name] => {
            azure.always_for(
                Endpoint::Vault,
                &secret_path(name),
                Response::not_found(name),
            );
        }
        ["deny", name] => azure.always_for(Endpoint::Vault, &secret_path(name), Response::rbac()),
        ["slow", token, vault] => {
            for (endpoint, delay) in [(Endpoint::Imds, token), (Endpoint::Vault, vault)] {
                azure.clear(endpoint);
                let delay = Duration::from_millis(delay.parse()?);
                if !delay.is_zero() {
                    azure.always(endpoint, Response::usual().delay(delay));
                }
            }
        }
        ["restore"] => {
            azure.clear(Endpoint::Vault);
            slow_down(azure, delay);
        }
        _ => bail!(
            "`{line}` is none of close ENDPOINT, open ENDPOINT, delete NAME, deny NAME and restore"
        ),
    }
    Ok(())
}

fn secret_path(name: &str) -> String {
    format!("/secrets/{name}")
}

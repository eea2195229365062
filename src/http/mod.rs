//! The one HTTP client: HTTP/1.1 by ureq over our own connector, with one deadline, no redirects, and a proxy only
//! where one is meant.
//!
//! A [`Service`] is one origin. Its connections can be opened before there is anything to send, so that the way to an
//! access token hides the handshakes with the vault. [`Service::send`] makes one try; [`retry::persist`] decides
//! whether there is another. No header and no body of a request is ever printed, and of an answer only what the rooms
//! above choose.

mod answer;
mod connect;
mod names;
mod proxy;
mod random;
pub mod retry;
mod tls;
pub mod trouble;
mod url;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::{Agent, Proxy, RequestBuilder};

use crate::env::Environment;
use crate::failure::Failure;
use crate::host::Host;
use crate::log;
use crate::settings::Settings;

pub use random::request_id;
pub use url::{encode, is_base_url, split_url, with_query};

pub use answer::Answer;
use answer::status_text;
pub use connect::LONGEST_HEADER;
use connect::{Connections, Door, How};
use names::Names;
use proxy::Proxies;
use retry::{Kind, Patience};
use trouble::Trouble;

/// The largest answer that is read. A secret has at most 25 KB, a token a few.
const ANSWER_LIMIT: usize = 256 * 1024;

const USER_AGENT: &str = concat!("akv-init/", env!("CARGO_PKG_VERSION"), " (linux)");

/// What every connection has in common.
pub struct Http {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    /// The one deadline.
    pub patience: Patience,
}

impl Http {
    /// Reads the trust store and the proxies that the environment names.
    pub fn build(env: &Environment, settings: &Settings) -> Result<Http, Failure> {
        Ok(Http {
            tls: tls::client_config(env, settings.ca_file.as_deref())?,
            proxies: Proxies::from(env)?,
            patience: Patience::start(settings.timeout, settings.wait_for_access),
        })
    }

    /// A service on the internet, over https, through a proxy where one is configured for its host.
    pub fn internet(&self, host: &Host) -> Service {
        let proxy = self.proxies.for_host(host);
        Service::new(
            &format!("https://{host}"),
            proxy,
            self.tls.clone(),
            Names::default(),
        )
    }

    /// An identity endpoint of this machine: never through a proxy, which would answer for another machine.
    pub fn local(&self, base: &str) -> Service {
        Service::new(base, None, self.tls.clone(), Names::default())
    }

    /// A service that is reached at one host and presents itself by another name, perhaps under roots (PEM) of its
    /// own. Inside a cluster: without a proxy.
    pub fn named(
        &self,
        host: &Host,
        name: Option<&str>,
        roots: Option<&[u8]>,
    ) -> Result<Service, Failure> {
        let tls = match roots {
            None => self.tls.clone(),
            Some(pem) => tls::only(pem)?,
        };
        let (host, names) = match name {
            None => (host.clone(), Names::default()),
            Some(name) => (
                Host::parse(&format!("{name}:{}", host.port))?,
                Names::leading_to(&host.name),
            ),
        };
        Ok(Service::new(&format!("https://{host}"), None, tls, names))
    }
}

/// One origin, and the connections to it.
pub struct Service {
    agent: Agent,
    connections: Arc<Connections>,
    base: String,
    /// The proxy on the way, as host and port: never its credentials.
    proxy: Option<String>,
}

/// One request.
pub struct Request<'a> {
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Headers besides `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// A form to POST, `application/x-www-form-urlencoded`; without one it is a GET.
    pub form: Option<&'a str>,
    /// How long a try may take.
    pub limits: Limits,
}

/// How long the parts of one try may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// TCP, a proxy's tunnel and TLS.
    pub connect: Duration,
    /// From the request sent to the answer's head.
    pub response: Duration,
}

impl Service {
    fn new(base: &str, proxy: Option<Proxy>, tls: Arc<ClientConfig>, names: Names) -> Service {
        let through = proxy
            .as_ref()
            .map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let https = base.starts_with("https://");
        let (input, output) = match https {
            true => (connect::STREAM_BUFFER, connect::STREAM_BUFFER),
            false => (connect::INPUT_BUFFER, connect::OUTPUT_BUFFER),
        };
        let config = Agent::config_builder()
            .proxy(proxy)
            .https_only(https)
            // A redirect would take the token, the assertion or the header elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The body of a refusal is its useful part.
            .http_status_as_error(false)
            .user_agent(USER_AGENT)
            .accept("application/json")
            // The defaults are 128 KiB each way for every connection. These are TCP's, on top of which TLS has its own.
            .input_buffer_size(input)
            .output_buffer_size(output)
            .max_response_header_size(connect::LONGEST_HEAD)
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .build();
        let origin = base
            .parse()
            .expect("a base URL was checked when it was read");
        let connections = Arc::new(Connections::new(origin, tls, names));
        Service {
            agent: Agent::with_parts(config, Door(connections.clone()), connections.names.clone()),
            connections,
            base: base.to_owned(),
            proxy: through,
        }
    }

    /// Opens one connection and keeps it for the first request that needs one. What goes wrong here goes wrong again,
    /// and is reported, when a request is made.
    pub fn open_early(&self, limits: Limits) {
        let started = Instant::now();
        let opened = self.connections.open_early(&self.agent, limits.connect);
        log::debug(|| match &opened {
            Ok(()) => format!(
                "connected to {} in {} ms",
                self.base,
                started.elapsed().as_millis()
            ),
            Err(error) => format!(
                "connecting to {}: {}",
                self.base,
                Trouble::from_ureq(error, limits).message
            ),
        });
    }

    /// Makes one try. Every status of 200 and above but redirects is an answer.
    pub fn send(&self, request: &Request<'_>, patience: &Patience) -> Result<Answer, Trouble> {
        let (mut answer, mut reused) = self.exchange(request, patience);
        // A server may close a connection that waited at any moment, also between our look at it and our write. That
        // is no attempt: all our requests can be repeated, and a fresh connection settles it.
        while reused && matches!(&answer, Err(trouble) if trouble.kind == Kind::Dropped) {
            (answer, reused) = self.exchange(request, patience);
        }
        answer
    }

    fn exchange(
        &self,
        request: &Request<'_>,
        patience: &Patience,
    ) -> (Result<Answer, Trouble>, bool) {
        let started = Instant::now();
        connect::forget_how_connected();
        let answer = self.call(request, patience);
        let reused = connect::how_connected() == How::Reused;
        log::debug(|| {
            let path = request.target.split('?').next().unwrap_or_default();
            let verb = if request.form.is_some() {
                "POST"
            } else {
                "GET"
            };
            let outcome = match &answer {
                Ok(answer) => answer.status.to_string(),
                Err(trouble) => trouble.message.clone(),
            };
            format!(
                "{verb} {}{path}: {outcome}, {} ms",
                self.base,
                started.elapsed().as_millis()
            )
        });
        (answer, reused)
    }

    fn call(&self, request: &Request<'_>, patience: &Patience) -> Result<Answer, Trouble> {
        let limits = request.limits;
        let url = format!("{}{}", self.base, request.target);
        let within = patience.remaining();
        let response = match request.form {
            None => limited(self.agent.get(&url), request, within).call(),
            Some(form) => limited(self.agent.post(&url), request, within)
                .content_type("application/x-www-form-urlencoded")
                .send(form),
        };
        let (parts, body) = response
            .map_err(|error| {
                let mut trouble = Trouble::from_ureq(&error, limits);
                // ureq says by chance of a connection that came too late that its own limit was over or the deadline.
                let too_late = trouble.kind == Kind::NoConnection
                    && within.is_some_and(|left| left <= limits.connect);
                if too_late
                    || trouble.kind == Kind::CutOff && connect::how_connected() == How::Opening
                {
                    trouble.kind = Kind::CutOffConnecting;
                    trouble.message = "no connection before the deadline".to_owned();
                }
                trouble.on_the_way_through(self.proxy.as_deref())
            })?
            .into_parts();
        if parts.status.is_redirection() {
            return Err(Trouble::new(
                Kind::Foreign,
                format!(
                    "{}: a redirect, which Azure never sends here",
                    status_text(parts.status)
                ),
            ));
        }
        let mut bytes = Vec::new();
        body.into_reader()
            .take(ANSWER_LIMIT as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Trouble::from_ureq(&ureq::Error::from(error), limits))?;
        if bytes.len() > ANSWER_LIMIT {
            return Err(Trouble::new(
                Kind::Foreign,
                format!(
                    "{}: an answer of more than {} KiB",
                    status_text(parts.status),
                    ANSWER_LIMIT / 1024
                ),
            ));
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: bytes,
        })
    }
}

/// A request's headers, and how long it may take.
fn limited<B>(
    mut builder: RequestBuilder<B>,
    request: &Request<'_>,
    within: Option<Duration>,
) -> RequestBuilder<B> {
    for (name, value) in request.headers {
        builder = builder.header(*name, *value);
    }
    builder
        .config()
        .timeout_connect(Some(request.limits.connect))
        .timeout_recv_response(Some(request.limits.response))
        .timeout_recv_body(Some(request.limits.response))
        .timeout_global(within)
        .build()
}

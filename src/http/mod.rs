//! The one HTTP client: HTTP/1.1 by ureq over our own connector, with one deadline, no redirects, and a proxy only
//! where one is meant.
//!
//! A [`Service`] is one origin. Its connections can be opened before there is anything to send, so that the way to an
//! access token hides the handshakes with the vault. [`Service::send`] makes one try; [`retry::retry`] decides
//! whether there is another. No header and no body of a request is ever printed, and of a response only what the rooms
//! above choose.

mod certificate;
mod clock_skew;
mod connection;
mod dns;
pub mod error;
pub mod probe;
mod proxy;
mod random;
mod recording_verifier;
mod request;
mod response;
pub mod retry;
mod tls;
mod url;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::{Agent, Proxy, RequestBuilder};

use crate::error::Error;
use crate::log::{self, Event};
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::options::Settings;

pub use random::request_id;
pub use request::{Request, Timeouts};
pub use url::{encode, is_base_url, split_url, with_query};

use clock_skew::Clocks;
pub use connection::LONGEST_HEADER;
use connection::{Connections, How, PooledConnector};
use dns::ServiceResolver;
use error::AttemptError;
use proxy::Proxies;
pub use response::Response;
use response::status_text;
use retry::{Deadline, ErrorKind};

/// The largest response that is read. A secret has at most 25 KB, a token a few.
const ANSWER_LIMIT: usize = 256 * 1024;

const USER_AGENT: &str = concat!("akv-init/", env!("CARGO_PKG_VERSION"), " (linux)");

/// What every connection has in common.
pub struct Http {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    /// The one deadline.
    pub deadline: Deadline,
    clocks: Arc<Clocks>,
}

impl Http {
    /// Reads the trust store and the proxies that the environment names.
    pub fn build(env: &Environment, settings: &Settings) -> Result<Http, Error> {
        Ok(Http {
            tls: tls::client_config(env, settings.ca_file.as_deref())?,
            proxies: Proxies::from(env)?,
            deadline: Deadline::start(settings.timeout, settings.wait_for_access),
            clocks: Arc::default(),
        })
    }

    /// The same for one who only looks: whom each handshake saw is remembered.
    pub fn watching(env: &Environment, settings: &Settings) -> Result<Http, Error> {
        Ok(Http {
            tls: tls::watching(env, settings.ca_file.as_deref())?,
            ..Http::build(env, settings)?
        })
    }

    /// The same with one try, from now on and within so long.
    pub fn for_one_try(&self, within: Duration) -> Http {
        Http {
            tls: self.tls.clone(),
            proxies: self.proxies.clone(),
            deadline: Deadline::attempt(within),
            clocks: self.clocks.clone(),
        }
    }

    /// What servers' clocks said.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// A service on the internet, over https, through a proxy where one is configured for its host.
    pub fn internet(&self, host: &Host) -> Service {
        let proxy = self.proxies.for_host(host);
        Service::new(
            &format!("https://{host}"),
            proxy,
            self.tls.clone(),
            ServiceResolver::default(),
            self.clocks.clone(),
        )
    }

    /// An identity endpoint of this machine: never through a proxy, which would answer for another machine.
    pub fn local(&self, base: &str) -> Service {
        let (tls, clocks) = (self.tls.clone(), self.clocks.clone());
        Service::new(base, None, tls, ServiceResolver::default(), clocks)
    }

    /// A service that is reached at one host and presents itself by another name, perhaps under roots (PEM) of its
    /// own. Inside a cluster: without a proxy.
    pub fn named(
        &self,
        host: &Host,
        name: Option<&str>,
        roots: Option<&[u8]>,
    ) -> Result<Service, Error> {
        let tls = match roots {
            None => self.tls.clone(),
            Some(pem) => tls::only(pem)?,
        };
        let (host, names) = match name {
            None => (host.clone(), ServiceResolver::default()),
            Some(name) => (
                Host::parse(&format!("{name}:{}", host.port))?,
                ServiceResolver::leading_to(&host.name),
            ),
        };
        let base = format!("https://{host}");
        Ok(Service::new(&base, None, tls, names, self.clocks.clone()))
    }
}

/// One origin, and the connections to it.
pub struct Service {
    agent: Agent,
    connections: Arc<Connections>,
    base: String,
    /// The proxy on the way, as host and port: never its credentials.
    proxy: Option<String>,
    clocks: Arc<Clocks>,
}

impl Service {
    fn new(
        base: &str,
        proxy: Option<Proxy>,
        tls: Arc<ClientConfig>,
        names: ServiceResolver,
        clocks: Arc<Clocks>,
    ) -> Service {
        let through = proxy
            .as_ref()
            .map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let https = base.starts_with("https://");
        let (input, output) = match https {
            true => (connection::STREAM_BUFFER, connection::STREAM_BUFFER),
            false => (connection::INPUT_BUFFER, connection::OUTPUT_BUFFER),
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
            .max_response_header_size(connection::LONGEST_HEAD)
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .build();
        let origin = base
            .parse()
            .expect("a base URL was checked when it was read");
        let connections = Arc::new(Connections::new(origin, tls, names));
        Service {
            agent: Agent::with_parts(
                config,
                PooledConnector(connections.clone()),
                connections.names.clone(),
            ),
            connections,
            base: base.to_owned(),
            proxy: through,
            clocks,
        }
    }

    /// Opens one connection and keeps it for the first request that needs one. What goes wrong here goes wrong again,
    /// and is reported, when a request is made.
    pub fn open_early(&self, timeouts: Timeouts) {
        let started = Instant::now();
        let opened = self.connections.open_early(&self.agent, timeouts.connect);
        log::debug(|| {
            let (url, took) = (&self.base, millis_since(started));
            let text = match &opened {
                Ok(()) => format!("connected to {url} in {took} ms"),
                Err(error) => {
                    let error = AttemptError::from_ureq(error, timeouts)
                        .on_the_way_through(self.proxy.as_deref());
                    format!("connecting to {url}: {}", error.error)
                }
            };
            Event::new(text).fact("url", url.as_str()).fact("ms", took)
        });
    }

    /// Makes one try. Every status of 200 and above but redirects is a response.
    pub fn send(
        &self,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> Result<Response, AttemptError> {
        let (mut response, mut reused) = self.exchange(request, deadline);
        // A server may close a connection that waited at any moment, also between our look at it and our write. That
        // is no attempt: all our requests can be repeated, and a fresh connection settles it.
        while reused && matches!(&response, Err(error) if error.kind == ErrorKind::ConnectionLost) {
            (response, reused) = self.exchange(request, deadline);
        }
        response
    }

    fn exchange(
        &self,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> (Result<Response, AttemptError>, bool) {
        let started = Instant::now();
        connection::forget_how_connected();
        let response = self.call(request, deadline);
        if let Ok(response) = &response {
            self.clocks.note(&self.base, response);
        }
        let reused = connection::how_connected() == How::Reused;
        log::debug(|| {
            let path = request.target.split('?').next().unwrap_or_default();
            let verb = if request.form.is_some() {
                "POST"
            } else {
                "GET"
            };
            let outcome = match &response {
                Ok(response) => response.status.to_string(),
                Err(error) => error.error.to_string(),
            };
            let (url, took) = (format!("{}{path}", self.base), millis_since(started));
            let event = Event::new(format!("{verb} {url}: {outcome}, {took} ms"))
                .fact("method", verb)
                .fact("url", url)
                .fact("ms", took);
            match &response {
                Ok(response) => event.fact("status", response.status.as_u16()),
                Err(_) => event,
            }
        });
        (response, reused)
    }

    fn call(&self, request: &Request<'_>, deadline: &Deadline) -> Result<Response, AttemptError> {
        let timeouts = request.timeouts;
        let url = format!("{}{}", self.base, request.target);
        let within = deadline.remaining();
        let response = match request.form {
            None => limited(self.agent.get(&url), request, within).call(),
            Some(form) => limited(self.agent.post(&url), request, within)
                .content_type("application/x-www-form-urlencoded")
                .send(form),
        };
        let (parts, body) = response
            .map_err(|error| {
                let mut error = AttemptError::from_ureq(&error, timeouts);
                // ureq says by chance of a connection that came too late that its own limit was over or the deadline.
                let too_late = error.kind == ErrorKind::ConnectTimeout
                    && within.is_some_and(|left| left <= timeouts.connect);
                if too_late
                    || error.kind == ErrorKind::DeadlineExceeded
                        && connection::how_connected() == How::Opening
                {
                    error = AttemptError::new(
                        ErrorKind::DeadlineExceededConnecting,
                        "no connection before the deadline",
                    );
                }
                error.on_the_way_through(self.proxy.as_deref())
            })?
            .into_parts();
        if parts.status.is_redirection() {
            return Err(AttemptError::new(
                ErrorKind::UnexpectedResponse,
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
            .map_err(|error| AttemptError::from_ureq(&ureq::Error::from(error), timeouts))?;
        if bytes.len() > ANSWER_LIMIT {
            return Err(AttemptError::new(
                ErrorKind::UnexpectedResponse,
                format!(
                    "{}: an answer of more than {} KiB",
                    status_text(parts.status),
                    ANSWER_LIMIT / 1024
                ),
            ));
        }
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: bytes,
        })
    }
}

fn millis_since(started: Instant) -> u64 {
    started.elapsed().as_millis() as u64
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
        .timeout_connect(Some(request.timeouts.connect))
        .timeout_recv_response(Some(request.timeouts.response))
        .timeout_recv_body(Some(request.timeouts.response))
        .timeout_global(within)
        .build()
}

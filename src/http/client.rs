//! The client: HTTP/1.1 by ureq over our own connector, without redirects, and through a proxy if one is configured.
//!
//! A [`Service`] is one origin. Its connections can be opened before there is a request, while the access token is
//! still being requested. [`Service::send`] makes one attempt; `retry` decides whether there is another. No header and
//! no body of a request is ever printed.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::http::HeaderValue;
use ureq::http::header::AUTHORIZATION;
use ureq::{Agent, Proxy, RequestBuilder};

use super::connection::{
    self, Connections, LAST_CONNECTION, Milestones, PooledConnector, RequestConnection,
};
use super::dns::ServiceResolver;
use super::error::from_ureq;
use super::proxy::ProxySettings;
use super::request::{Request, Timeouts};
use super::response::Response;
use super::retry::Deadline;
use super::tls;
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::log::{self, Event};
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::settings::Settings;

/// The maximum size of a response body, in bytes. A secret has at most 25 KB, a token a few KB.
const MAX_RESPONSE_SIZE: u64 = 256 * 1024;

const USER_AGENT: &str = concat!("akv-init/", env!("CARGO_PKG_VERSION"), " (linux)");

/// The settings that all requests share: the trusted certificates, the proxy and the deadline.
#[derive(Clone)]
pub struct HttpClient {
    tls_config: Arc<ClientConfig>,
    proxy_settings: ProxySettings,
    /// The deadline that all requests share.
    pub deadline: Arc<Deadline>,
    dates: Arc<Mutex<Vec<ResponseDate>>>,
}

/// When a service responded, by its clock and by this machine's.
struct ResponseDate {
    /// The service as `HOST:PORT`.
    service: String,
    /// The header `Date`.
    date: HeaderValue,
    /// In Unix seconds.
    arrived: i64,
}

impl HttpClient {
    /// Builds the client; reads the trust store and the proxy settings.
    pub fn build(env: &Environment, settings: &Settings) -> Result<HttpClient, Error> {
        Ok(HttpClient {
            tls_config: tls::client_config(env, settings.ca_file.as_deref())?,
            proxy_settings: ProxySettings::from_env(env)?,
            deadline: Arc::new(Deadline::start(
                settings.timeout,
                settings.wait_for_access,
                settings.throttle_timeout,
            )),
            dates: Arc::default(),
        })
    }

    /// A client that makes only one attempt of each request. Its deadline is `timeout` from now.
    pub fn for_one_attempt(&self, timeout: Duration) -> HttpClient {
        HttpClient {
            deadline: Arc::new(Deadline::for_one_attempt(timeout)),
            ..self.clone()
        }
    }

    /// For each response so far that had a header `Date`: the service as `HOST:PORT`, and by how many seconds its clock is
    /// ahead of this machine's.
    pub fn clock_skews(&self) -> Vec<(String, i64)> {
        let dates = self.dates.lock().unwrap_or_else(PoisonError::into_inner);
        let skews = dates.iter().filter_map(|response| {
            let date = date::parse_http_date(response.date.to_str().ok()?)?;
            Some((response.service.clone(), date - response.arrived))
        });
        skews.collect()
    }

    /// A service outside this machine and its cluster, such as a vault: over https, and through a proxy if one is
    /// configured for the host.
    pub fn remote_service(&self, host: &Host) -> Service {
        let base_url = format!("https://{host}");
        let proxy = self.proxy_settings.proxy_for(host);
        self.new_service(
            &base_url,
            proxy,
            self.tls_config.clone(),
            ServiceResolver::default(),
        )
    }

    /// An identity endpoint of this machine. No proxy is used: it would connect to the endpoint of the proxy's machine
    /// instead.
    pub fn local_service(&self, base_url: &str) -> Service {
        self.new_service(
            base_url,
            None,
            self.tls_config.clone(),
            ServiceResolver::default(),
        )
    }

    /// A service inside a cluster, without a proxy. `host` is where connections go to. `server_name` is the name in
    /// the certificate, `None` if that is the name of `host`. `ca_pem` holds the only CAs to trust, as PEM; with
    /// `None`, the CAs of all other services are trusted.
    pub fn cluster_service(
        &self,
        host: &Host,
        server_name: Option<&str>,
        ca_pem: Option<&[u8]>,
    ) -> Result<Service, Error> {
        let tls_config = match ca_pem {
            None => self.tls_config.clone(),
            Some(ca_pem) => tls::client_config_for_cas(ca_pem)?,
        };
        let (host, resolver) = match server_name {
            None => (host.clone(), ServiceResolver::default()),
            Some(name) => (
                Host::parse(&format!("{name}:{}", host.port))?,
                ServiceResolver::with_fixed_host(&host.name),
            ),
        };
        Ok(self.new_service(&format!("https://{host}"), None, tls_config, resolver))
    }

    fn new_service(
        &self,
        base_url: &str,
        proxy: Option<Proxy>,
        tls_config: Arc<ClientConfig>,
        resolver: ServiceResolver,
    ) -> Service {
        let proxy_address = proxy
            .as_ref()
            .map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let is_https = base_url.starts_with("https://");
        let config = Agent::config_builder()
            .proxy(proxy)
            .https_only(is_https)
            // A redirect would send the token, the assertion or the header to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The body of an error response is read too.
            .http_status_as_error(false)
            .user_agent(USER_AGENT)
            .accept("application/json")
            .input_buffer_size(connection::STREAM_BUFFER_SIZE)
            .output_buffer_size(connection::STREAM_BUFFER_SIZE)
            .max_response_header_size(connection::MAX_RESPONSE_HEADERS_LEN)
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .build();
        let origin = base_url
            .parse()
            .expect("a base URL was checked when it was read");
        let connections = Arc::new(Connections::new(origin, tls_config, resolver.clone()));
        let connector = PooledConnector(connections.clone());
        Service {
            agent: Agent::with_parts(config, connector, resolver),
            connections,
            base_url: base_url.to_owned(),
            proxy: proxy_address,
            dates: self.dates.clone(),
        }
    }
}

/// A service at one origin, and its connections.
pub struct Service {
    pub(super) agent: Agent,
    pub(super) connections: Arc<Connections>,
    /// The scheme, host and port of the service.
    pub(super) base_url: String,
    /// The proxy as `HOST:PORT`; `None` for direct connections.
    pub(super) proxy: Option<String>,
    dates: Arc<Mutex<Vec<ResponseDate>>>,
}

impl Service {
    /// The first address of the host, which connections go to; `None` if a proxy connects to the host.
    pub fn address(&self) -> Option<IpAddr> {
        match self.proxy {
            None => self.connections.resolver.latest_address(),
            Some(_) => None,
        }
    }

    /// How far the connections have come.
    pub fn milestones(&self) -> &Milestones {
        &self.connections.milestones
    }

    /// Opens a connection, for the first request that needs one. An error is only logged: the request will report it
    /// again.
    pub fn open_early(&self, timeouts: Timeouts) {
        let started = Instant::now();
        let opened = self.connections.open_early(&self.agent, timeouts.connect);
        log::debug(|| {
            let (url, took) = (&self.base_url, millis_since(started));
            let text = match &opened {
                Ok(()) => format!("connected to {url} in {took} ms"),
                Err(error) => {
                    let error = from_ureq(error, timeouts, self.proxy.as_deref());
                    format!("connecting to {url}: {}", error)
                }
            };
            Event::new(text).fact("url", url.as_str()).fact("ms", took)
        });
    }

    /// Makes one attempt. A response is `Ok` whatever its status, except for a redirect.
    pub fn send(&self, request: &Request<'_>, deadline: &Deadline) -> Result<Response, Error> {
        connection::mark(&self.milestones().first_request);
        loop {
            let started = Instant::now();
            LAST_CONNECTION.set(RequestConnection::Reused);
            let response = self.send_once(request, deadline);
            self.milestones().responses.fetch_add(1, Ordering::Relaxed);
            self.record(request, &response, started);
            // A server may close an idle connection at any moment. That does not count as an attempt: the request is
            // sent again, which is safe for all our requests, until it gets a new connection.
            let is_reused = LAST_CONNECTION.get() == RequestConnection::Reused;
            match &response {
                Err(error)
                    if is_reused
                        && error.request_failure == Some(RequestFailure::ConnectionLost) => {}
                _ => return response,
            }
        }
    }

    /// Logs a request and its response, and records its date.
    fn record(&self, request: &Request<'_>, response: &Result<Response, Error>, started: Instant) {
        log::debug(|| {
            let path = request.target.split('?').next().unwrap_or_default();
            let method = match request.form {
                Some(_) => "POST",
                None => "GET",
            };
            let (url, took) = (format!("{}{path}", self.base_url), millis_since(started));
            let event = |outcome: String| {
                Event::new(format!("{method} {url}: {outcome}, {took} ms"))
                    .fact("method", method)
                    .fact("url", url)
                    .fact("ms", took)
            };
            match response {
                Ok(Response { status, .. }) => {
                    event(status.to_string()).fact("status", status.as_u16())
                }
                Err(error) => event(error.to_string()),
            }
        });
        if let Some(date) = response.as_ref().ok().and_then(|it| it.headers.get("date")) {
            let mut dates = self.dates.lock().unwrap_or_else(PoisonError::into_inner);
            dates.push(ResponseDate {
                service: self.authority().to_owned(),
                date: date.clone(),
                arrived: date::unix_now(),
            });
        }
    }

    /// Makes one attempt on one connection, without the log and the date.
    fn send_once(&self, request: &Request<'_>, deadline: &Deadline) -> Result<Response, Error> {
        let timeouts = request.timeouts;
        let url = format!("{}{}", self.base_url, request.target);
        let remaining = deadline.remaining();
        let response = match request.form {
            None => configure(self.agent.get(&url), request, remaining).call(),
            Some(form) => configure(self.agent.post(&url), request, remaining)
                .content_type("application/x-www-form-urlencoded")
                .send(form),
        };
        let (parts, body) = response
            .map_err(|error| {
                let error = from_ureq(&error, timeouts, self.proxy.as_deref());
                // If the connect timeout and the deadline coincide, ureq may report either.
                let is_deadline_while_connecting = match error.request_failure {
                    Some(RequestFailure::ConnectTimeout) => {
                        remaining.is_some_and(|remaining| remaining <= timeouts.connect)
                    }
                    Some(RequestFailure::DeadlineExceeded) => {
                        LAST_CONNECTION.get() == RequestConnection::Opening
                    }
                    _ => false,
                };
                match is_deadline_while_connecting {
                    true => RequestFailure::DeadlineExceededWhileConnecting
                        .error("no connection before the deadline"),
                    false => error,
                }
            })?
            .into_parts();
        let response = Response::new(parts.status, parts.headers, Vec::new());
        let unexpected =
            |reason: &str| response.error(RequestFailure::UnexpectedResponse, "", reason);
        if response.status.is_redirection() {
            return Err(unexpected("a redirect, which Azure never sends here"));
        }
        // A body of exactly ureq's limit is an error too.
        let body = body.into_with_config().limit(MAX_RESPONSE_SIZE + 1);
        let body = body.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                let limit = MAX_RESPONSE_SIZE / 1024;
                unexpected(&format!("the response has more than {limit} KiB"))
            }
            error => from_ureq(&error, timeouts, None),
        })?;
        Ok(Response { body, ..response })
    }
}

/// The milliseconds since `started`.
fn millis_since(started: Instant) -> u64 {
    started.elapsed().as_millis() as u64
}

/// Adds the headers and the timeouts of a request.
fn configure<B>(
    mut builder: RequestBuilder<B>,
    request: &Request<'_>,
    remaining: Option<Duration>,
) -> RequestBuilder<B> {
    for (name, value) in request.headers {
        builder = builder.header(*name, *value);
    }
    if let Some(authorization) = request.authorization {
        builder = builder.header(AUTHORIZATION, &authorization.0);
    }
    builder
        .config()
        .timeout_connect(Some(request.timeouts.connect))
        .timeout_recv_response(Some(request.timeouts.response))
        .timeout_recv_body(Some(request.timeouts.response))
        .timeout_global(remaining)
        .build()
}

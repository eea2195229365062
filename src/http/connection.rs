//! The connector: TCP or a proxy's tunnel, then TLS; and connections that are opened before they are needed.
//!
//! ureq calls the connector when its pool has no connection. [`PooledConnector`] returns a connection that was opened
//! early, if there is one. A failed request counts as an attempt only if its connection was new.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{self, Duration};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};
use ureq::http::Uri;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};
use ureq::{Agent, Error, Timeout};

use super::buffers::SparseBuffers;
use super::dns::ServiceResolver;
use crate::request::host::without_brackets;

/// The maximum length of a header value in a request, in bytes. Azure's front ends accept tokens of about this length.
pub const MAX_HEADER_VALUE_LEN: usize = 16 * 1024;
/// The size of the input buffer, in bytes. All headers of a response must fit into it; Entra's have about 3 KiB.
pub const INPUT_BUFFER_SIZE: usize = 16 * 1024;
/// The maximum length of all headers of a response, in bytes. It is less than the buffer: if the buffer were full,
/// ureq would report the end of the stream instead of headers that are too long.
pub const MAX_RESPONSE_HEADERS_LEN: usize = INPUT_BUFFER_SIZE - 1024;
/// The size of the output buffer, in bytes. Each header of a request must fit into it.
pub const OUTPUT_BUFFER_SIZE: usize = MAX_HEADER_VALUE_LEN + 512;
/// The size of the buffers of the TCP connection beneath a [`BufferedTransport`], in bytes. Only a proxy's response to
/// CONNECT must fit into them. They are small because they are ureq's own, which fills them with zeros, and so takes
/// memory for all of them.
pub const STREAM_BUFFER_SIZE: usize = 4 * 1024;
/// How long after a response a connection with TLS is presumed to be open.
const PRESUMED_OPEN: Duration = Duration::from_secs(1);

/// Where the connection of a request comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RequestConnection {
    /// The connection was opened early, or for an earlier request.
    Reused,
    /// The connection is being opened for this request.
    Opening,
    /// The connection was opened for this request.
    New,
}

thread_local! {
    /// Where the connection of this thread's last request came from. ureq calls the connector only if its pool has no
    /// connection, so `Service::send` sets this to `Reused` before each request.
    pub static LAST_CONNECTION: Cell<RequestConnection> = const { Cell::new(RequestConnection::Reused) };
    /// The schemes of authentication that this thread's last proxy offered, when it refused the tunnel with status 407.
    pub static OFFERED_SCHEMES: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// The schemes that a proxy may require (<https://www.iana.org/assignments/http-authschemes>). No other word of a
/// response is shown.
const PROXY_SCHEMES: [&str; 5] = ["Basic", "Digest", "Kerberos", "Negotiate", "NTLM"];

/// The result of a TLS handshake.
pub struct Handshake {
    /// `TLS 1.2` or `TLS 1.3`.
    pub tls_version: &'static str,
    /// The server's certificate, and then the intermediate ones.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// How far the connections to an origin have come: when each of these happened first.
#[derive(Default)]
pub struct Milestones {
    /// The host's address was known, and a TCP connection to it, or to the proxy, was begun.
    pub connecting: OnceLock<time::Instant>,
    /// TCP was connected, through the tunnel of a proxy if there is one.
    pub connected: OnceLock<time::Instant>,
    /// The TLS handshake was done.
    pub ready: OnceLock<time::Instant>,
    /// A request was begun.
    pub first_request: OnceLock<time::Instant>,
    /// The number of requests so far that ended, with a response or not.
    pub responses: AtomicUsize,
}

/// Marks that something happened now, unless it happened before.
pub fn mark(milestone: &OnceLock<time::Instant>) {
    milestone.get_or_init(time::Instant::now);
}

/// The idle connections to one origin, and what is needed to open more of them.
pub struct Connections {
    /// The scheme, host and port that connections are for.
    pub origin: Uri,
    tls_config: Arc<ClientConfig>,
    /// The handshake of the connection that was opened last; `None` without TLS.
    pub latest_handshake: Mutex<Option<Handshake>>,
    /// The resolver, which connections opened early and those opened by ureq share.
    pub resolver: ServiceResolver,
    /// The connections that were opened early and that no request has used yet.
    idle: Mutex<Vec<Box<dyn Transport>>>,
    /// How far these connections have come.
    pub milestones: Milestones,
}

impl Connections {
    /// Connections to `origin`, which must have a scheme and a host. None is opened yet.
    pub fn new(origin: Uri, tls_config: Arc<ClientConfig>, resolver: ServiceResolver) -> Self {
        Connections {
            origin,
            tls_config,
            latest_handshake: Mutex::default(),
            resolver,
            idle: Mutex::default(),
            milestones: Milestones::default(),
        }
    }

    /// Opens a connection in the same way as a request does, and keeps it for a request.
    pub fn open_early(
        self: &Arc<Self>,
        agent: &Agent,
        connect_timeout: Duration,
    ) -> Result<(), Error> {
        let timeout = NextTimeout {
            after: connect_timeout.into(),
            reason: Timeout::Connect,
            ..NextTimeout::default()
        };
        let config = agent.config();
        let addrs = match config.proxy() {
            Some(_) => self.resolver.empty(),
            None => self.resolver.resolve(&self.origin, config, timeout)?,
        };
        let connections = self.clone();
        let details = ConnectionDetails {
            uri: &self.origin,
            addrs,
            config,
            request_level: false,
            resolver: &self.resolver,
            now: Instant::now(),
            timeout,
            current_time: Arc::new(Instant::now),
            run_connector: Arc::new(move |details| connections.connect(details)),
            // This is for shutting an agent down; our connections end with the process.
            register_shutdown: Arc::new(|_| Ok(())),
        };
        mark(&self.milestones.connecting);
        let connection = self.connect(&details)?;
        mark(&self.milestones.ready);
        self.lock_idle().push(connection);
        Ok(())
    }

    /// Opens a connection: TCP, the tunnel of a proxy if there is one, and TLS if the URL has https.
    fn connect(&self, details: &ConnectionDetails) -> Result<Box<dyn Transport>, Error> {
        let tunnel =
            ConnectProxyConnector::default().connect(details, None::<Box<dyn Transport>>)?;
        let stream = TcpConnector::default().connect(details, tunnel)?;
        let stream = stream.ok_or(Error::ConnectionFailed)?.boxed();
        let is_to_origin = details.uri.authority() == self.origin.authority();
        if is_to_origin {
            mark(&self.milestones.connected);
        }
        if !is_to_origin && !details.needs_tls() {
            return Ok(Box::new(ProxyTransport(stream)));
        }
        let stream = TransportAdapter::new(stream, details.current_time.clone());
        let stream = BufferedTransport {
            buffers: SparseBuffers::new(INPUT_BUFFER_SIZE, OUTPUT_BUFFER_SIZE),
            stream: match details.needs_tls() {
                true => Stream::Tls(Box::new(self.start_tls(details, stream)?)),
                false => Stream::Plain(stream),
            },
            used_at: Some(time::Instant::now()),
        };
        Ok(match is_to_origin {
            true => Box::new(stream),
            false => Box::new(ProxyTransport(Box::new(stream))),
        })
    }

    /// Does the TLS handshake. Like ureq's TLS connector, but with the TLS configuration of this program: see
    /// Cargo.toml.
    fn start_tls(
        &self,
        details: &ConnectionDetails,
        mut stream: TransportAdapter,
    ) -> Result<StreamOwned<ClientConnection, TransportAdapter>, Error> {
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(without_brackets(host).to_owned())
            .map_err(|_| Error::BadUri(host.to_owned()))?;
        let mut connection = ClientConnection::new(self.tls_config.clone(), name)
            .map_err(|error| Error::Other(Box::new(error)))?;
        stream.set_timeout(details.timeout);
        // A firewall that filters by name closes the connection at this moment.
        connection
            .complete_io(&mut stream)
            .map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => {
                    Error::Other(Box::new(rustls::Error::HandshakeNotComplete))
                }
                _ => error.into(),
            })?;
        let handshake = Handshake {
            tls_version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            },
            certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
        };
        let mut latest = self
            .latest_handshake
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *latest = Some(handshake);
        Ok(StreamOwned::new(connection, stream))
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Box<dyn Transport>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connector for ureq: hands out an idle connection if there is one, or else opens one.
pub struct PooledConnector(pub Arc<Connections>);

impl Connector for PooledConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        // ureq opens the connection to a proxy with this connector too; an idle connection leads to the origin.
        let origin = &self.0.origin;
        let is_to_origin = origin.scheme() == details.uri.scheme()
            && origin.authority() == details.uri.authority();
        // Whether it is still open is not tested: unread session tickets would fail the test, and the server may close
        // the connection a moment later. `Service::send` repeats a request whose connection was closed.
        if is_to_origin && let Some(idle) = self.0.lock_idle().pop() {
            return Ok(Some(idle));
        }
        LAST_CONNECTION.set(RequestConnection::Opening);
        let connection = self.0.connect(details)?;
        LAST_CONNECTION.set(RequestConnection::New);
        Ok(Some(connection))
    }
}

impl fmt::Debug for PooledConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledConnector")
    }
}

/// A connection to a proxy. ureq keeps only the status of the response to CONNECT; this one keeps the schemes, too.
#[derive(Debug)]
struct ProxyTransport(Box<dyn Transport>);

impl Transport for ProxyTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let has_progressed = self.0.await_input(timeout)?;
        // Through an open tunnel come TLS records, which begin otherwise.
        let input = self.0.buffers().input();
        if input.starts_with(b"HTTP/1.1 407") || input.starts_with(b"HTTP/1.0 407") {
            OFFERED_SCHEMES.set(schemes_in(&String::from_utf8_lossy(input)));
        }
        Ok(has_progressed)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

/// The schemes in the headers `Proxy-Authenticate` of a response.
fn schemes_in(response: &str) -> Vec<&'static str> {
    let values = response.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authenticate")
            .then_some(value)
    });
    let words: Vec<&str> = values.flat_map(|value| value.split([' ', ','])).collect();
    let is_offered = |scheme: &&str| words.iter().any(|word| word.eq_ignore_ascii_case(scheme));
    PROXY_SCHEMES.into_iter().filter(is_offered).collect()
}

/// A connection with the buffers for a request and its response.
struct BufferedTransport {
    buffers: SparseBuffers,
    stream: Stream,
    /// When the last response arrived, or when the connection was opened; `None` after the end of the stream.
    used_at: Option<time::Instant>,
}

/// A stream of bytes.
enum Stream {
    Plain(TransportAdapter),
    Tls(Box<StreamOwned<ClientConnection, TransportAdapter>>),
}

impl Stream {
    fn below_tls(&mut self) -> &mut TransportAdapter {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_mut(),
        }
    }
}

impl Transport for BufferedTransport {
    /// The buffers for decrypted input and output, which ureq reads and fills.
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.below_tls().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(output)?,
            Stream::Tls(stream) => stream.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.below_tls().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = match &mut self.stream {
            Stream::Plain(stream) => stream.read(input)?,
            Stream::Tls(stream) => stream.read(input)?,
        };
        self.buffers.input_appended(amount);
        self.used_at = (amount > 0).then(time::Instant::now);
        Ok(amount > 0)
    }

    /// ureq asks before and after each request, and each time it takes three system calls to find out. A connection that
    /// was closed within [`PRESUMED_OPEN`] is noticed by the next request, which
    /// [`Service::send`](super::Service::send) repeats. Without TLS, this also finds bytes after a response, which
    /// would be taken for the next one.
    fn is_open(&mut self) -> bool {
        let is_presumed_open =
            self.is_tls() && self.used_at.is_some_and(|at| at.elapsed() < PRESUMED_OPEN);
        is_presumed_open || self.stream.below_tls().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl fmt::Debug for BufferedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BufferedTransport")
    }
}

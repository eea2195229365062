//! The connector: a proxy's tunnel or TCP, then TLS; and connections that are opened before they are needed.
//!
//! ureq calls its connector when its pool has no connection. [`PooledConnector`] returns one that was opened early, if
//! there is one. Whether a request's connection was new decides whether a broken one counts as an attempt.

use std::cell::Cell;
use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};
use ureq::http::Uri;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout,
    TcpConnector, Transport, TransportAdapter,
};
use ureq::{Agent, Error, Timeout};

use super::dns::ServiceResolver;
use crate::request::host::without_brackets;

/// The longest header value that we send: Azure's front ends accept tokens of about this length.
pub const MAX_HEADER_VALUE_LEN: usize = 16 * 1024;
/// ureq needs all headers of a response in its buffer; Entra's have about 3 KiB.
pub const INPUT_BUFFER_SIZE: usize = 16 * 1024;
/// The longest headers of a response. Less than the buffer, so that longer ones are an error and not a full buffer, which
/// looks like the end of the stream.
pub const MAX_RESPONSE_HEADERS_LEN: usize = INPUT_BUFFER_SIZE - 1024;
/// ureq needs each header of a request in its buffer as a whole.
pub const OUTPUT_BUFFER_SIZE: usize = MAX_HEADER_VALUE_LEN + 512;
/// Under TLS, only a proxy's response has to fit. Small, since every buffer is zeroed and so uses memory.
pub const STREAM_BUFFER_SIZE: usize = 4 * 1024;

/// How a request gets its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RequestConnection {
    /// It was opened early, or for an earlier request.
    Reused,
    /// It is being opened for this request.
    Opening,
    /// It was opened for this request.
    New,
}

thread_local! {
    /// The connection of this thread's last request. ureq does not call the connector if its pool has a connection, so
    /// `Service::send` sets this to `Reused` before each request.
    pub static LAST_CONNECTION: Cell<RequestConnection> = const { Cell::new(RequestConnection::Reused) };
}

/// A TLS handshake that succeeded.
pub struct Handshake {
    /// As in `TLS 1.3`.
    pub tls_version: &'static str,
    /// The server's certificates, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The connections to one origin that are open and not used yet, and how to open others.
pub struct Connections {
    /// Scheme, host and port.
    pub origin: Uri,
    tls: Arc<ClientConfig>,
    /// The latest one; none without TLS.
    pub handshake: Mutex<Option<Handshake>>,
    /// The origin's addresses, the same for connections opened early and for ureq's.
    pub resolver: ServiceResolver,
    idle: Mutex<Vec<Box<dyn Transport>>>,
}

impl Connections {
    /// No connections yet. `origin` has a scheme and a host.
    pub fn new(origin: Uri, tls: Arc<ClientConfig>, resolver: ServiceResolver) -> Self {
        Connections {
            origin,
            tls,
            handshake: Mutex::default(),
            resolver,
            idle: Mutex::default(),
        }
    }

    /// Opens one connection as a request would and keeps it.
    pub fn open_early(self: &Arc<Self>, agent: &Agent, within: Duration) -> Result<(), Error> {
        let timeout = NextTimeout {
            after: within.into(),
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
            // For shutting an agent down; ours end with the process.
            register_shutdown: Arc::new(|_| Ok(())),
        };
        let opened = self.connect(&details)?;
        self.lock().push(opened);
        Ok(())
    }

    fn connect(&self, details: &ConnectionDetails) -> Result<Box<dyn Transport>, Error> {
        let tunnel =
            ConnectProxyConnector::default().connect(details, None::<Box<dyn Transport>>)?;
        let stream = TcpConnector::default().connect(details, tunnel)?;
        let stream = stream.ok_or(Error::ConnectionFailed)?.boxed();
        match details.needs_tls() && !stream.is_tls() {
            true => self.start_tls(details, stream),
            false => Ok(stream),
        }
    }

    /// As ureq's own connector, with our configuration: see Cargo.toml.
    fn start_tls(
        &self,
        details: &ConnectionDetails,
        stream: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, Error> {
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(without_brackets(host).to_owned())
            .map_err(|_| Error::BadUri(host.to_owned()))?;
        let mut connection = ClientConnection::new(self.tls.clone(), name)
            .map_err(|error| Error::Other(Box::new(error)))?;
        let mut stream = TransportAdapter::new(stream, details.current_time.clone());
        stream.set_timeout(details.timeout);
        connection.complete_io(&mut stream)?;
        let handshake = Handshake {
            tls_version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            },
            certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
        };
        let mut latest = self
            .handshake
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *latest = Some(handshake);
        Ok(Box::new(TlsTransport {
            buffers: LazyBuffers::new(INPUT_BUFFER_SIZE, OUTPUT_BUFFER_SIZE),
            stream: StreamOwned::new(connection, stream),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn Transport>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ureq's connector.
pub struct PooledConnector(pub Arc<Connections>);

impl Connector for PooledConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        // The connection to a proxy comes through here too, and must not be one that already leads to the origin.
        let origin = &self.0.origin;
        let to_origin = origin.scheme() == details.uri.scheme()
            && origin.authority() == details.uri.authority();
        // Not tested for being open: unread session tickets fail such a test, and the server may close it a moment later
        // anyway. `Service::send` repeats a request whose connection was closed.
        if to_origin && let Some(idle) = self.0.lock().pop() {
            return Ok(Some(idle));
        }
        LAST_CONNECTION.set(RequestConnection::Opening);
        let opened = self.0.connect(details)?;
        LAST_CONNECTION.set(RequestConnection::New);
        Ok(Some(opened))
    }
}

impl fmt::Debug for PooledConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledConnector")
    }
}

/// A connection with TLS.
struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

//! The connector: a proxy's tunnel or TCP, then TLS; and connections that were opened before they were needed.
//!
//! ureq asks its connector for a connection when its pool has none. [`PooledConnector`] first gives away one that was opened
//! early. Whether the last request of a thread got a connection anew decides whether a broken one counts as an attempt.

use std::cell::Cell;
use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};
use ureq::http::Uri;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ChainedConnector, ConnectProxyConnector, ConnectionDetails, Connector, Either,
    LazyBuffers, NextTimeout, TcpConnector, Transport, TransportAdapter,
};
use ureq::{Agent, Error, Timeout};

use super::dns::ServiceResolver;
use crate::request::host::without_brackets;

/// The longest header value that we send: Azure's front ends take about as much of a token.
pub const LONGEST_HEADER: usize = 16 * 1024;
/// ureq wants the whole head of a response in its buffer; Entra's has about 3 KiB. A little less than that is the limit, so
/// that a longer head is an error and not a buffer without room, which looks like the end of the stream.
pub const INPUT_BUFFER: usize = 16 * 1024;
/// The longest head of a response.
pub const LONGEST_HEAD: usize = INPUT_BUFFER - 1024;
/// ureq wants each header of a request whole in its buffer.
pub const OUTPUT_BUFFER: usize = LONGEST_HEADER + 512;
/// Below TLS nothing has to be whole, but for what a proxy says. Every buffer is filled with zeros, so it is memory.
pub const STREAM_BUFFER: usize = 4 * 1024;

type Tunnel = ChainedConnector<(), (), ConnectProxyConnector>;
type Stream = ChainedConnector<(), Tunnel, TcpConnector>;
type Chain = ChainedConnector<(), Stream, TlsConnector>;

/// How a request of this thread came by its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// One that had waited, or ureq's own from an earlier request.
    Reused,
    /// Not yet: it is still being opened.
    Opening,
    /// One of its own.
    Opened,
}

thread_local! {
    static HOW: Cell<How> = const { Cell::new(How::Reused) };
    static VERSION: Cell<Option<ProtocolVersion>> = const { Cell::new(None) };
}

/// Before this thread opens a connection.
pub fn forget_version() {
    VERSION.set(None);
}

/// The TLS version of the last connection that this thread opened.
pub fn version() -> Option<&'static str> {
    match VERSION.get()? {
        ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
        _ => None,
    }
}

/// Before a request of this thread.
pub fn forget_how_connected() {
    HOW.set(How::Reused);
}

/// After it.
pub fn how_connected() -> How {
    HOW.get()
}

/// The connections to one origin that nobody uses yet, and how to make more.
pub struct Connections {
    /// Scheme, host and port.
    pub origin: Uri,
    chain: Chain,
    /// The origin's addresses, the same for connections opened early and for ureq's.
    pub names: ServiceResolver,
    waiting: Mutex<Vec<Box<dyn Transport>>>,
}

impl Connections {
    /// None yet. `origin` has a scheme and a host.
    pub fn new(origin: Uri, tls: Arc<ClientConfig>, names: ServiceResolver) -> Self {
        Connections {
            origin,
            names,
            chain:
                ().chain(ConnectProxyConnector::default())
                    .chain(TcpConnector::default())
                    .chain(TlsConnector(tls)),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Opens one connection as a request would and keeps it.
    pub fn open_early(self: &Arc<Self>, agent: &Agent, within: Duration) -> Result<(), Error> {
        let opened = self.open(agent, within)?;
        self.lock().push(opened);
        Ok(())
    }

    /// Opens one connection as a request would.
    pub fn open(
        self: &Arc<Self>,
        agent: &Agent,
        within: Duration,
    ) -> Result<Box<dyn Transport>, Error> {
        let timeout = NextTimeout {
            after: within.into(),
            reason: Timeout::Connect,
            ..NextTimeout::default()
        };
        let config = agent.config();
        let addrs = match config.proxy() {
            Some(_) => self.names.empty(),
            None => self.names.resolve(&self.origin, config, timeout)?,
        };
        let again = self.clone();
        let details = ConnectionDetails {
            uri: &self.origin,
            addrs,
            config,
            request_level: false,
            resolver: &self.names,
            now: Instant::now(),
            timeout,
            current_time: Arc::new(Instant::now),
            run_connector: Arc::new(move |details| again.connect(details)),
            // ureq uses it to shut an agent down while it works; ours end with the process.
            register_shutdown: Arc::new(|_| Ok(())),
        };
        self.connect(&details)
    }

    fn connect(&self, details: &ConnectionDetails) -> Result<Box<dyn Transport>, Error> {
        let opened = self
            .chain
            .connect(details, None)?
            .ok_or(Error::ConnectionFailed)?;
        Ok(Box::new(opened))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Transport>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ureq asks for a connection.
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
        // Not asked whether it is still open: unread session tickets look like a fault to such a probe, and a peer may
        // close a moment later anyway. `Service::send` repeats what a dead one costs.
        if to_origin && let Some(waiting) = self.0.lock().pop() {
            return Ok(Some(waiting));
        }
        // Before it is open: a handshake that breaks off was on a connection of our own, too.
        HOW.set(How::Opening);
        let opened = self.0.connect(details)?;
        HOW.set(How::Opened);
        Ok(Some(opened))
    }
}

impl fmt::Debug for PooledConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledConnector")
    }
}

/// Wraps a connection in TLS where the URL says https. As ureq's own, with our configuration: see Cargo.toml.
struct TlsConnector(Arc<ClientConfig>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = without_brackets(host);
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_| Error::BadUri(host.to_owned()))?;
        let mut connection = ClientConnection::new(self.0.clone(), name)
            .map_err(|error| Error::Other(Box::new(error)))?;
        let mut stream = TransportAdapter::new(
            Box::new(transport) as Box<dyn Transport>,
            details.current_time.clone(),
        );
        stream.set_timeout(details.timeout);
        connection.complete_io(&mut stream)?;
        VERSION.set(connection.protocol_version());
        Ok(Some(Either::B(TlsTransport {
            buffers: LazyBuffers::new(INPUT_BUFFER, OUTPUT_BUFFER),
            stream: StreamOwned::new(connection, stream),
        })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
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

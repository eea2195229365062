//! A connection, plain or TLS, and the ways in which an answer travels on it. A good answer is one write, so that a
//! measurement of the client does not measure us; a bad one breaks off exactly where its name says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, Stream};

use super::shared::Shared;

/// One side of a connection that was accepted.
pub struct Wire {
    tcp: Arc<TcpStream>,
    tls: Option<ServerConnection>,
}

/// An answer with everything decided.
pub struct Message {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn plain(tcp: Arc<TcpStream>) -> Wire {
        Wire { tcp, tls: None }
    }

    /// Does the handshake, whole: what is recorded about a connection is known from its first request on.
    pub fn tls(tcp: Arc<TcpStream>, config: Arc<ServerConfig>) -> io::Result<Wire> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut &*tcp)?;
        }
        Ok(Wire {
            tcp,
            tls: Some(tls),
        })
    }

    /// `TLSv1.2` or `TLSv1.3`.
    pub fn version(&self) -> Option<String> {
        let version = match self.tls.as_ref()?.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            other => unreachable!("{other:?} is not among the versions of any door"),
        };
        Some(version.to_owned())
    }

    /// The name that the client asked for.
    pub fn sni(&self) -> Option<String> {
        self.tls.as_ref()?.server_name().map(str::to_owned)
    }

    /// The whole message at once.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = head(message, Some(message.body.len()));
        bytes.extend_from_slice(&message.body);
        self.write_all(&bytes)
    }

    /// Half of the body, of which the head promised the whole.
    pub fn send_half(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = head(message, Some(message.body.len()));
        bytes.extend_from_slice(&message.body[..message.body.len() / 2]);
        self.write_all(&bytes)
    }

    /// One byte of the body at a time.
    pub fn drip(
        &mut self,
        message: &Message,
        interval: Duration,
        shared: &Shared,
    ) -> io::Result<()> {
        self.write_all(&head(message, Some(message.body.len())))?;
        for byte in &message.body {
            shared.pause(interval);
            self.write_all(&[*byte])?;
        }
        Ok(())
    }

    /// A body of spaces that goes on until the client has had enough.
    pub fn send_endless(&mut self, message: &Message) -> io::Result<()> {
        self.write_all(&head(message, None))?;
        let chunk = format!("{ENDLESS_CHUNK:x}\r\n{}\r\n", " ".repeat(ENDLESS_CHUNK));
        for _ in 0..ENDLESS_CHUNKS {
            self.write_all(chunk.as_bytes())?;
        }
        Err(io::Error::other("the client read a body that never ends"))
    }

    /// Ends the connection as a server does that is done with it.
    pub fn finish(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The client may be gone already.
            let _ = tls.write_tls(&mut &*self.tcp);
        }
        self.drop_silently();
    }

    /// Ends the connection without a word, not even TLS's.
    pub fn drop_silently(self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Ends the connection with a reset. It goes out when the last one who holds the socket lets go of it.
    pub fn reset(self) -> io::Result<()> {
        setsockopt(
            &*self.tcp,
            sockopt::Linger,
            &linger {
                l_onoff: 1,
                l_linger: 0,
            },
        )?;
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut &*self.tcp).read(buffer),
            None => (&*self.tcp).read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut &*self.tcp).write(buffer),
            None => (&*self.tcp).write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut &*self.tcp).flush(),
            None => Ok(()),
        }
    }
}

fn head(message: &Message, length: Option<usize>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", message.status, reason(message.status));
    for (name, value) in &message.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
        None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
    }
    head.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        410 => "Gone",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

/// 256 MiB: no client of ours may take that, and a test of one that does still ends.
const ENDLESS_CHUNK: usize = 16 * 1024;
const ENDLESS_CHUNKS: usize = 16 * 1024;

//! A connection, plain or TLS, and the ways to send a response on it. A good response is one write, for measurements of the
//! client.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, Stream};

use super::shared::Shared;

/// An accepted connection.
pub struct Wire {
    tcp: Arc<TcpStream>,
    tls: Option<ServerConnection>,
}

/// A whole response.
pub struct Message {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn plain(tcp: Arc<TcpStream>) -> Wire {
        Wire { tcp, tls: None }
    }

    /// Completes the handshake, so that its facts are known for the first request.
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
            other => unreachable!("{other:?} is not a version of any endpoint"),
        };
        Some(version.to_owned())
    }

    /// The server name of the client.
    pub fn sni(&self) -> Option<String> {
        self.tls.as_ref()?.server_name().map(str::to_owned)
    }

    /// The whole message at once.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = head(message, Some(message.body.len()));
        bytes.extend_from_slice(&message.body);
        self.write_all(&bytes)
    }

    /// Half of the body, with the length of the whole.
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

    /// A body of spaces until the client ends the connection.
    pub fn send_endless(&mut self, message: &Message) -> io::Result<()> {
        self.write_all(&head(message, None))?;
        let chunk = format!("{ENDLESS_CHUNK:x}\r\n{}\r\n", " ".repeat(ENDLESS_CHUNK));
        for _ in 0..ENDLESS_CHUNKS {
            self.write_all(chunk.as_bytes())?;
        }
        Err(io::Error::other("the client read a body that never ends"))
    }

    /// Closes the connection, with TLS's notice.
    pub fn finish(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The client may be gone already.
            let _ = tls.write_tls(&mut &*self.tcp);
        }
        self.drop_silently();
    }

    /// Closes the connection without TLS's notice.
    pub fn drop_silently(self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Resets the connection, which happens when the last owner of the socket drops it.
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

/// 256 MiB, so that the test of a client that reads them ends.
const ENDLESS_CHUNK: usize = 16 * 1024;
const ENDLESS_CHUNKS: usize = 16 * 1024;

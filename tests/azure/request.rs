//! One request as it arrived, and the reading of requests from a connection: enough of HTTP/1.1 for the clients that
//! come here (a head, then a body by `Content-Length`), and nothing forgiving beyond that.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112>

use std::io::{self, Read};
use std::time::Instant;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Endpoint;

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it arrived.
    pub endpoint: Endpoint,
    /// `GET`, `POST`, `CONNECT`.
    pub method: String,
    /// Path and query as sent; `host:port` for CONNECT.
    pub target: String,
    /// In the order they were sent, names as sent.
    pub headers: Vec<(String, String)>,
    /// The `Host` header.
    pub host: String,
    /// What followed the head.
    pub body: Vec<u8>,
    /// Counts from 1; requests of one connection share it.
    pub connection: u64,
    /// `TLSv1.2` or `TLSv1.3`; none on a plain endpoint.
    pub tls: Option<String>,
    /// The server name of the handshake.
    pub sni: Option<String>,
    /// What the response carries as `x-ms-request-id`.
    pub request_id: String,
    /// When its last byte was read.
    pub at: Instant,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// A header's value; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        find(&self.query_pairs(), name)
    }

    /// All query parameters, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        pairs(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// A field of a form in the body, decoded.
    pub fn form(&self, name: &str) -> Option<String> {
        find(&pairs(&String::from_utf8_lossy(&self.body)), name)
    }

    /// The token of an `Authorization: Bearer` header.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    }

    /// The credential, wherever this service has it; empty for IMDS, which needs none.
    pub fn credential(&self) -> String {
        let fields = ["client_assertion", "client_secret"].map(|name| self.form(name));
        let headers = ["x-identity-header", "secret"].map(|name| self.header(name));
        let authorization = self
            .header("authorization")
            .and_then(|value| value.split_once(' '));
        fields
            .into_iter()
            .flatten()
            .chain(headers.into_iter().flatten().map(str::to_owned))
            .chain(authorization.map(|(_, proof)| proof.to_owned()))
            .next()
            .unwrap_or_default()
    }

    /// One object for the record that the process form keeps.
    pub fn to_json(&self) -> Value {
        let headers: Vec<Value> = self.headers.iter().map(|(k, v)| json!([k, v])).collect();
        json!({
            "endpoint": self.endpoint.name(), "method": self.method, "target": self.target, "host": self.host,
            "connection": self.connection, "tls": self.tls, "sni": self.sni, "request_id": self.request_id,
            "headers": headers, "body": String::from_utf8_lossy(&self.body),
        })
    }
}

/// What a connection tells about all of its requests.
#[derive(Clone, Debug)]
pub struct Origin {
    pub endpoint: Endpoint,
    pub connection: u64,
    pub tls: Option<String>,
    pub sni: Option<String>,
}

/// Reads requests one after the other. Bytes of the next one that came along stay for the next call.
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    pub fn new() -> Reader {
        Reader { bytes: Vec::new() }
    }

    /// The next request, or none when the client is done. An error is a client that does not speak HTTP or broke off.
    pub fn next(&mut self, stream: &mut impl Read, origin: &Origin) -> io::Result<Option<Request>> {
        let mut searched = 0;
        let head_end = loop {
            if let Some(at) = self.bytes[searched..]
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
            {
                break searched + at;
            }
            searched = self.bytes.len().saturating_sub(3);
            if self.bytes.len() > HEAD_LIMIT {
                return Err(malformed("a head that does not end"));
            }
            if !self.fill(stream)? {
                let clean = self.bytes.is_empty();
                return if clean {
                    Ok(None)
                } else {
                    Err(malformed("half a head"))
                };
            }
        };
        let head = String::from_utf8_lossy(&self.bytes[..head_end]).into_owned();
        let mut request = parse_head(&head, origin)?;
        let length = match request.header("content-length") {
            Some(text) => text
                .parse()
                .map_err(|_| malformed("a length that is no number"))?,
            None if request.header("transfer-encoding").is_some() => {
                return Err(malformed("a chunked request"));
            }
            None => 0,
        };
        if length > BODY_LIMIT {
            return Err(malformed("a body of that length"));
        }
        let end = head_end + 4 + length;
        while self.bytes.len() < end {
            if !self.fill(stream)? {
                return Err(malformed("half a body"));
            }
        }
        request.body = self.bytes[head_end + 4..end].to_vec();
        request.at = Instant::now();
        self.bytes.drain(..end);
        Ok(Some(request))
    }

    /// Whether no further bytes have arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut chunk = [0; 8 * 1024];
        let read = match stream.read(&mut chunk) {
            // Of rustls, when the peer closed without close_notify, as many clients do.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        self.bytes.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }
}

fn parse_head(head: &str, origin: &Origin) -> io::Result<Request> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("a request line of another protocol"));
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| malformed("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        endpoint: origin.endpoint,
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        host: String::new(),
        body: Vec::new(),
        connection: origin.connection,
        tls: origin.tls.clone(),
        sni: origin.sni.clone(),
        request_id: String::new(),
        at: Instant::now(),
    };
    request.host = request.header("host").unwrap_or("").to_owned();
    Ok(request)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        percent_decode_str(&part.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

fn find(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 1024 * 1024;

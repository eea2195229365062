//! A response to one request: a status, headers and a body, or a fault in place of them. Texts of the real services are in
//! `canned.rs`; `wire.rs` sends them.

use std::time::Duration;

use serde_json::Value;

/// A response: a constructor and any number of changes.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) content: Content,
    pub(super) headers: Vec<(String, String)>,
    pub(super) delay: Duration,
    pub(super) held: bool,
    pub(super) delivery: Delivery,
    pub(super) bare: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Bytes in place of HTTP; the connection ends after them.
    Raw(Vec<u8>),
    /// A 200 with these fields; `access_token` is issued when the response is made, in each object that lacks it.
    Token(u16, Value),
    /// The default response of the endpoint.
    Usual,
    Whole(u16, Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// One byte of the body at a time.
    Drip(Duration),
    /// A body that does not end.
    Endless,
    /// Nothing, and the end of the connection.
    Fin,
    /// The head and half of the body, and the end of the connection.
    Half,
    /// Nothing, and a reset of the connection.
    Reset,
    Whole,
}

impl Response {
    /// The default response of the endpoint, to be delayed or broken.
    pub fn usual() -> Response {
        Response::of(Content::Usual)
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Response {
        Response::of(Content::Whole(status, Vec::new()))
    }

    /// A JSON body. The words `{caller}`, `{credential}`, `{form}`, `{host}`, `{secret}` and `{vault}` in it become the
    /// request's.
    pub fn json(status: u16, body: &Value) -> Response {
        let response = Response::of(Content::Whole(status, body.to_string().into_bytes()));
        response.header("Content-Type", "application/json; charset=utf-8")
    }

    /// A body of plain text.
    pub fn text(status: u16, body: &str) -> Response {
        let response = Response::of(Content::Whole(status, body.as_bytes().to_vec()));
        response.header("Content-Type", "text/plain; charset=utf-8")
    }

    /// A page, as of a gateway or a captive portal.
    pub fn html(status: u16, body: &str) -> Response {
        let response = Response::of(Content::Whole(status, body.as_bytes().to_vec()));
        response.header("Content-Type", "text/html").bare()
    }

    /// A token response with exactly these fields and a real `access_token` (in each element of an array).
    pub fn token(fields: Value) -> Response {
        let response = Response::of(Content::Token(200, fields));
        response.header("Content-Type", "application/json; charset=utf-8")
    }

    /// The connection is closed (FIN).
    pub fn fin() -> Response {
        Response {
            delivery: Delivery::Fin,
            ..Response::status(200)
        }
    }

    /// The connection is reset (RST).
    pub fn reset() -> Response {
        Response {
            delivery: Delivery::Reset,
            ..Response::status(200)
        }
    }

    /// A 200 whose body does not end.
    pub fn endless() -> Response {
        Response {
            delivery: Delivery::Endless,
            ..Response::status(200)
        }
    }

    /// Not HTTP.
    pub fn garbage() -> Response {
        Response::raw(b"\x00\x01\x02 220 mail.example.com ESMTP ready\r\n\r\n")
    }

    /// These bytes, and the end of the connection.
    pub fn raw(bytes: &[u8]) -> Response {
        Response::of(Content::Raw(bytes.to_vec()))
    }

    /// A redirect, which a client must not follow with a token.
    pub fn redirect(location: &str) -> Response {
        Response::status(307).header("Location", location)
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Response {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another content type than the constructor's.
    pub fn content_type(mut self, value: &str) -> Response {
        self.headers.retain(|(name, _)| name != "Content-Type");
        self.header("Content-Type", value)
    }

    /// Token responses and bodies with another status than the constructor's.
    pub fn with_status(mut self, status: u16) -> Response {
        match &mut self.content {
            Content::Token(was, _) | Content::Whole(was, _) => *was = status,
            Content::Raw(_) | Content::Usual => panic!("this response has no status to change"),
        }
        self
    }

    /// Waits before the first byte.
    pub fn delay(mut self, delay: Duration) -> Response {
        self.delay = delay;
        self
    }

    /// Waits for `Azure::release` before the first byte.
    pub fn hold(mut self) -> Response {
        self.held = true;
        self
    }

    /// Closes the connection in the middle of the body.
    pub fn half(mut self) -> Response {
        self.delivery = Delivery::Half;
        self
    }

    /// One byte of the body at a time.
    pub fn drip(mut self, interval: Duration) -> Response {
        self.delivery = Delivery::Drip(interval);
        self
    }

    /// Without the headers of the real service, as from a server in between.
    pub fn bare(mut self) -> Response {
        self.bare = true;
        self
    }

    fn of(content: Content) -> Response {
        Response {
            content,
            headers: Vec::new(),
            delay: Duration::ZERO,
            held: false,
            delivery: Delivery::Whole,
            bare: false,
        }
    }
}

//! What a door says to one request: a status, headers and a body, or one of the ways in which an answer goes wrong on
//! its way. Texts of the real services are in `canned.rs`; how each is put on the wire is in `wire.rs`.

use std::time::Duration;

use serde_json::Value;

/// An answer; built from one constructor and any number of changes.
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
    /// A 200 with these fields; `access_token` is issued when the answer is made, in each object that lacks it.
    Token(u16, Value),
    /// What the door says by default.
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
    /// What the door says by default: for a delay or a fault on a good answer.
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
        let answer = Response::of(Content::Whole(status, body.to_string().into_bytes()));
        answer.header("Content-Type", "application/json; charset=utf-8")
    }

    /// A body of plain text.
    pub fn text(status: u16, body: &str) -> Response {
        let answer = Response::of(Content::Whole(status, body.as_bytes().to_vec()));
        answer.header("Content-Type", "text/plain; charset=utf-8")
    }

    /// A page, as a gateway or a captive portal has it.
    pub fn html(status: u16, body: &str) -> Response {
        let answer = Response::of(Content::Whole(status, body.as_bytes().to_vec()));
        answer.header("Content-Type", "text/html").bare()
    }

    /// A token answer with exactly these fields and a real `access_token` (in each element of an array).
    pub fn token(fields: Value) -> Response {
        let answer = Response::of(Content::Token(200, fields));
        answer.header("Content-Type", "application/json; charset=utf-8")
    }

    /// The connection ends without a word (FIN).
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

    /// A 200 whose body never stops.
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

    /// A redirect, which no client may follow with a token in its hand.
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

    /// Token answers and bodies with another status than the constructor's.
    pub fn with_status(mut self, status: u16) -> Response {
        match &mut self.content {
            Content::Token(was, _) | Content::Whole(was, _) => *was = status,
            Content::Raw(_) | Content::Usual => panic!("this answer has no status to change"),
        }
        self
    }

    /// Waits so long before the first byte.
    pub fn delay(mut self, delay: Duration) -> Response {
        self.delay = delay;
        self
    }

    /// Waits for `Azure::release` before the first byte.
    pub fn hold(mut self) -> Response {
        self.held = true;
        self
    }

    /// Breaks off in the middle of the body.
    pub fn half(mut self) -> Response {
        self.delivery = Delivery::Half;
        self
    }

    /// One byte of the body at a time.
    pub fn drip(mut self, interval: Duration) -> Response {
        self.delivery = Delivery::Drip(interval);
        self
    }

    /// Without the headers that every answer of the real service carries: something in between is speaking.
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

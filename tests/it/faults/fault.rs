//! What can go wrong with an answer, each with a body that must not be shown.

use serde_json::{Value, json};

use crate::azure::Answer;

/// In every body that is not what it should be.
pub const LEAK: &str = "LEAKofTOKEN.LEAKofTOKEN.LEAKofTOKEN";

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Refused,
    Reset,
    Fin,
    Half,
    Slow,
    /// With or without Retry-After.
    Status(u16, bool),
    CutJson,
    Html,
    Empty,
    /// A 200 with this body.
    WrongType(Value),
    TenMegabytes,
}

/// How often is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tries {
    Once,
    Thrice,
    /// Until the deadline, which is a second.
    Until,
}

pub fn faults() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Refused,
        Fault::Reset,
        Fault::Fin,
        Fault::Half,
        Fault::Slow,
        Fault::CutJson,
        Fault::Html,
        Fault::Empty,
        Fault::TenMegabytes,
    ];
    for status in [404, 410, 429, 500, 503] {
        faults.extend([false, true].map(|retry_after| Fault::Status(status, retry_after)));
    }
    let bodies = [
        json!({"access_token": 5, "expires_in": 3599, "x": LEAK}),
        json!({"access_token": [LEAK], "expires_in": 3599}),
        json!({"access_token": "", "expires_in": 3599}),
        json!({"access_token": format!("{LEAK}\r\nX-Other: 1"), "expires_in": 3599}),
        json!({"token": LEAK, "expires_in": 3599}),
        json!({"access_token": LEAK}),
        json!({"access_token": LEAK, "expires_on": {}, "expires_in": []}),
        json!({"access_token": LEAK, "expires_on": "15609740s28", "expires_in": 3599}),
        json!([]),
        json!([LEAK]),
        json!(LEAK),
        json!(null),
    ];
    faults.extend(bodies.map(Fault::WrongType));
    faults
}

impl Fault {
    /// The answer, where there is one.
    pub fn answer(&self, retry_after: &str) -> Option<Answer> {
        Some(match self {
            Fault::Refused => return None,
            Fault::Reset => Answer::reset(),
            Fault::Fin => Answer::fin(),
            Fault::Half => {
                Answer::json(200, &json!({"access_token": LEAK, "expires_in": 3599})).half()
            }
            Fault::Slow => Answer::usual().hold(),
            Fault::Status(status, false) => Answer::status(*status),
            Fault::Status(status, true) => {
                Answer::status(*status).header("Retry-After", retry_after)
            }
            Fault::CutJson => {
                Answer::text(200, &format!("{{\"access_token\":\"{LEAK}\",\"expires_"))
            }
            Fault::Html => Answer::html(200, &format!("<html><body>Sign in, {LEAK}</body></html>")),
            Fault::Empty => Answer::status(200),
            Fault::WrongType(body) => Answer::json(200, body),
            Fault::TenMegabytes => {
                let token = "LEAKofTOKEN".repeat(1_000_000);
                Answer::token(json!({"access_token": token, "expires_in": 3599}))
            }
        })
    }
}

//! Every source of identity against everything that can go wrong with an answer: the outcome of each cell of that grid
//! is asserted, the exit code, the sentence and how often was asked. None takes longer than its deadline, none panics,
//! and none says what it was given to prove itself. Cells run side by side, each with an Azure of its own.

mod echoes;
mod fault;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::azure::{Answer, Azure};
use crate::network::listen::Listened;
use crate::support::{Outcome, THROTTLED};
use crate::support_identities::{Source, assert_token, countless, leak};
use fault::{Fault, LEAK, Tries, faults};

/// How a source takes a status.
fn of_status(source: Source, status: u16) -> Tries {
    match (source, status) {
        (_, 429 | 503) => Tries::Until,
        // A moment's trouble, or a resource that does not exist.
        (Source::AppService | Source::CloudShell | Source::MachineLearning, 500) => Tries::Thrice,
        (_, 500) => Tries::Until,
        // While it is being updated, or is not up yet.
        (Source::Imds | Source::AppService | Source::Arc, 404 | 410) => Tries::Until,
        (_, 404 | 410) => Tries::Once,
        _ => panic!("{status} is not in the grid"),
    }
}

/// What is wanted of a cell: the exit code, how often was asked, and what is said.
fn wanted(source: Source, fault: &Fault) -> (i32, Tries, String) {
    let ids = match source {
        Source::Imds => "; client request id UUID",
        Source::Certificate | Source::Secret | Source::TokenProxy | Source::Workload => {
            "; request id UUID; client request id UUID"
        }
        Source::AppService | Source::Arc | Source::CloudShell | Source::MachineLearning => "",
    };
    let broken = |said: &str| (69, Tries::Until, said.to_owned());
    let foreign = |said: &str| {
        // The agent's first answer is no token, whatever it holds.
        let said = match source {
            Source::Arc => "the agent did not ask for its key file",
            _ => said,
        };
        (76, Tries::Once, format!("200 OK: {said}"))
    };
    match fault {
        Fault::Refused => broken("connection refused"),
        Fault::Reset => broken("the connection was reset"),
        Fault::Fin | Fault::Half => broken("the connection was closed before the answer was whole"),
        Fault::Slow => (69, Tries::Once, "no answer before the deadline".to_owned()),
        Fault::Status(status, retry_after) => {
            let text = match status {
                404 => "404 Not Found",
                410 => "410 Gone",
                429 => "429 Too Many Requests",
                500 => "500 Internal Server Error",
                _ => "503 Service Unavailable",
            };
            let tries = of_status(source, *status);
            match (tries, retry_after) {
                (Tries::Once, _) if source == Source::Arc => (76, tries, text.to_owned()),
                (Tries::Once, _) => (76, tries, format!("{text}{ids}")),
                (_, false) => (69, tries, format!("{text}{ids}")),
                (_, true) => {
                    let asks = "; it asks for 1 s without a request, which is past the deadline";
                    (69, Tries::Once, format!("{text}{ids}{asks}"))
                }
            }
        }
        Fault::CutJson | Fault::Html | Fault::Empty => foreign("the answer is not JSON"),
        Fault::WrongType(body) => foreign(match &body["access_token"] {
            Value::String(token) if token == LEAK => {
                "expires_in and expires_on are both missing or cannot be read"
            }
            _ => "the answer holds no access token",
        }),
        Fault::TenMegabytes => (
            76,
            Tries::Once,
            "200 OK: an answer of more than 256 KiB".to_owned(),
        ),
    }
}

/// Ids differ from run to run.
pub fn without_ids(text: &str) -> String {
    let is_id = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let mut left = text;
    let mut found = String::new();
    while let Some(c) = left.chars().next() {
        let length = match left.as_bytes().get(..36) {
            Some(bytes) if is_id(bytes) => {
                found.push_str("UUID");
                36
            }
            _ => {
                found.push(c);
                c.len_utf8()
            }
        };
        left = &left[length..];
    }
    found
}

/// One cell, with the fault for ever.
fn check(source: Source, fault: &Fault) -> Result<(), String> {
    let azure = Azure::start();
    let door = source.door();
    match fault.answer("1") {
        Some(answer) => azure.always(door, answer),
        None => azure.close(door),
    }
    let started = Instant::now();
    let (code, tries, said) = wanted(source, fault);
    // Only what is meant to end at the deadline may come near it. A wait of 1 s that is asked for is past the first one.
    let timeout = match (fault, tries) {
        (Fault::Slow | Fault::Status(_, true), _) => "1",
        (_, Tries::Until) => "2",
        _ => "10",
    };
    let words = ["--verbose", "--timeout", timeout];
    let outcome = countless(source.token(&azure, &words).outcome());
    let took = started.elapsed();
    let after = match tries {
        Tries::Once => "",
        Tries::Thrice | Tries::Until => ", after N tries in N s",
    };
    let expected = format!("{}: {said}{after}", source.asking(&azure));
    let error = without_ids(outcome.error().unwrap_or_default());
    let requests = azure.requests_at(door).len();
    let counted = match (fault, tries) {
        (Fault::Refused, _) => requests == 0,
        (_, Tries::Once) => requests == 1,
        (_, Tries::Thrice) => requests == 3,
        (_, Tries::Until) => requests > 1,
    };
    let cell = format!("{source:?} x {fault:?}")
        .chars()
        .take(160)
        .collect::<String>();
    if outcome.code != Some(code) || error != without_ids(&expected) || !outcome.stdout.is_empty() {
        return Err(format!(
            "{cell}: wanted {code} {expected}\n{}",
            outcome.stderr
        ));
    }
    if !counted {
        return Err(format!("{cell}: {requests} requests, wanted {tries:?}"));
    }
    if took > Duration::from_secs(6) {
        return Err(format!("{cell}: took {took:?}"));
    }
    said_nothing(&azure, &outcome).map_err(|leak| format!("{cell}: {leak}"))
}

/// One cell, with the fault once: what can heal does.
fn check_healing(source: Source, fault: &Fault) -> Result<(), String> {
    let azure = Azure::start();
    let door = source.door();
    let words = ["--verbose", "--timeout", "30"];
    let outcome = match fault {
        Fault::Refused => {
            azure.close(door);
            let mut run = Listened::start(source.token(&azure, &words));
            run.until("try 1: connection refused");
            azure.open(door);
            run.outcome()
        }
        Fault::Slow => {
            azure.next(door, Answer::usual().delay(Duration::from_millis(300)));
            source.token(&azure, &words).outcome()
        }
        _ => {
            azure.next(door, fault.answer("0").expect("all others are answers"));
            source.token(&azure, &words).outcome()
        }
    };
    let token = Outcome {
        stderr: String::new(),
        ..outcome.clone()
    };
    let cell = format!("{source:?} x {fault:?}, once");
    if outcome.code != Some(0) || !azure.tokens().contains(&outcome.stdout) {
        return Err(format!("{cell}: {}", outcome.stderr));
    }
    assert_token(&azure, &token);
    let quiet = Outcome {
        stdout: String::new(),
        ..outcome
    };
    said_nothing(&azure, &quiet).map_err(|leak| format!("{cell}: {leak}"))
}

fn said_nothing(azure: &Azure, outcome: &Outcome) -> Result<(), String> {
    match leak(azure, outcome, &["LEAK"]) {
        None => Ok(()),
        Some(leak) => Err(leak),
    }
}

/// Checks every cell, some of them at a time: most of them wait for their deadlines.
#[track_caller]
fn assert_all<C: Sync>(cells: &[C], check: impl Fn(&C) -> Result<(), String> + Sync) {
    const WORKERS: usize = 8;
    let next = AtomicUsize::new(0);
    let offences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(offence) = check(cell) {
                        offences.lock().unwrap().push(offence);
                    }
                }
            });
        }
    });
    let offences = offences.into_inner().unwrap();
    let count = offences.len();
    assert!(
        offences.is_empty(),
        "{count} of {}:\n{}",
        cells.len(),
        offences.join("\n")
    );
}

fn grid() -> Vec<(Source, Fault)> {
    let of = |source: Source| faults().into_iter().map(move |fault| (source, fault));
    Source::ALL.into_iter().flat_map(of).collect()
}

#[test]
fn every_cell_of_the_grid_ends_as_it_should() {
    let cells = grid();
    assert_eq!(cells.len(), 9 * 31);
    assert_all(&cells, |(source, fault)| check(*source, fault));
}

/// All but Azure Arc, whose good answer needs a key file.
#[test]
fn what_can_heal_does() {
    let heals = |(source, fault): &(Source, Fault)| {
        *source != Source::Arc
            && match fault {
                Fault::Slow => true,
                Fault::Status(status, _) => of_status(*source, *status) != Tries::Once,
                _ => wanted(*source, fault).1 != Tries::Once,
            }
    };
    let cells: Vec<(Source, Fault)> = grid().into_iter().filter(heals).collect();
    assert!(cells.len() > 8 * 10, "{}", cells.len());
    assert_all(&cells, |(source, fault)| check_healing(*source, fault));
}

/// Y2, Y3, Y4, Y6, where a source has been asked too often.
#[test]
fn y2_y3_y4_y6_how_long_to_wait_is_what_the_service_says() {
    let azure = Azure::start();
    let source = Source::AppService;
    let throttled = |name: &str, value: &str| Answer::status(429).header(name, value);
    for (id, answer) in [
        (
            "Y2",
            throttled("Retry-After", "Thu, 31 Dec 2020 23:59:50 GMT"),
        ),
        ("Y4", throttled("Retry-After", "invalid")),
        ("Y4", throttled("Retry-After", "01 Jan 2021 00:00:00 GMT")),
        ("Y4", Answer::status(429)),
        ("milliseconds", throttled("x-ms-retry-after-ms", "300")),
    ] {
        let before = azure.requests_at(source.door()).len();
        azure.next(source.door(), answer);
        assert_token(&azure, &source.token(&azure, &[]).outcome());
        assert_eq!(azure.requests_at(source.door()).len() - before, 2, "{id}");
    }
    // Y3 and Y6: read, and longer than there is time.
    for (name, value) in [("Retry-After", "123"), ("retry-after-ms", "123000")] {
        azure.next(source.door(), throttled(name, value));
        let line = format!(
            "error: {}: 429 Too Many Requests; it asks for 123 s without a request, which is past the deadline",
            source.asking(&azure)
        );
        let outcome = source.token(&azure, &[]).outcome();
        outcome.failed(69, &[&line, THROTTLED]);
    }
}

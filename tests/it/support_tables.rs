//! Tables of responses. A row is one response of an endpoint and the result that a run must have: one more case is one
//! line of a table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::Run;
use crate::support_identities::{Source, leak};
use crate::support_requests::one_secret;

/// How many rows run at the same time: most of their time is waiting for a backoff or a deadline.
const PARALLEL: usize = 12;

/// How often the endpoint receives the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attempts {
    /// The first response is final.
    Once,
    /// Until the deadline; a good second response is success.
    Retried,
    /// This number of times, whatever the deadline is.
    Counted(usize),
}

/// One response and the result of a run that receives it.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub response: Response,
    pub code: i32,
    pub attempts: Attempts,
    /// Whether there is a hint, unless either is right.
    pub hint: Option<bool>,
    /// Values that the user needs and that the message must contain.
    pub named: Vec<String>,
    /// The value of `refusal` in the JSON error line.
    pub refusal: Option<String>,
}

/// A table: `NAME: RESPONSE => CODE ATTEMPTS [hint] [refusal NAME] [names VALUE…];`, a row a line. ATTEMPTS is `once`,
/// `retried` or `counted N`.
#[macro_export]
macro_rules! rows {
    ($($name:literal: $response:expr => $code:literal $attempts:ident $($count:literal)?
        $(, $key:ident $($value:expr)?)*;)*) => {{
        #[allow(unused_mut)]
        let rows: Vec<$crate::support_tables::Row> = vec![$({
            let mut row = $crate::support_tables::Row {
                name: $name.to_owned(),
                response: $response,
                code: $code,
                attempts: $crate::rows!(@attempts $attempts $($count)?),
                hint: Some(false),
                named: Vec::new(),
                refusal: None,
            };
            $($crate::rows!(@set row $key $($value)?);)*
            row
        }),*];
        rows
    }};
    (@attempts once) => { $crate::support_tables::Attempts::Once };
    (@attempts retried) => { $crate::support_tables::Attempts::Retried };
    (@attempts counted $count:literal) => { $crate::support_tables::Attempts::Counted($count) };
    (@set $row:ident hint) => { $row.hint = Some(true) };
    (@set $row:ident names $value:expr) => { $row.named.push($value.to_string()) };
    (@set $row:ident refusal $value:expr) => { $row.refusal = Some($value.to_string()) };
}

/// Checks the rows of several sources of identity.
pub fn check_sources(tables: impl IntoIterator<Item = (Source, Vec<Row>)>) {
    let rows = tables.into_iter().flat_map(|(source, rows)| {
        let named = move |row: Row| (format!("{source:?}: {}", row.name), (source, row));
        rows.into_iter().map(named)
    });
    each(rows.collect(), |azure, (source, row)| {
        let run = |options: &[&str]| source.token(azure, options);
        check_row(azure, row, source.endpoint(), source.good_code(), run);
    });
}

/// Checks the rows of a vault.
pub fn check_vault(rows: Vec<Row>) {
    let named = rows.into_iter().map(|row| (row.name.clone(), row));
    each(named.collect(), |azure, row| {
        let run = |options: &[&str]| one_secret(azure, options);
        check_row(azure, row, Endpoint::Vault, 0, run);
    });
}

/// `run` is a run with these options; with a good response it ends with `good`.
fn check_row(
    azure: &Azure,
    row: &Row,
    endpoint: Endpoint,
    good: i32,
    run: impl Fn(&[&str]) -> Run,
) {
    let count = || azure.requests_at(endpoint).len();
    let fail = |timeout: &str, requests: usize| {
        let before = count();
        azure.always(endpoint, row.response.clone());
        let options = ["--verbose", "--timeout", timeout];
        let outcome = run(&options).json().outcome();
        azure.clear(endpoint);
        let failure = outcome.failure(row.code, cause_of(row.code));
        assert_eq!(count() - before, requests, "requests of {}", failure.line);
        assert_eq!(leak(azure, &outcome, &["LEAK"]), None);
        match row.hint {
            Some(true) => failure.hinted(),
            Some(false) => failure.unhinted(),
            None => &failure,
        };
        for value in &row.named {
            failure.names(value);
        }
        if let Some(refusal) = &row.refusal {
            failure.fact("refusal", refusal.as_str());
        }
    };
    match row.attempts {
        Attempts::Once => fail("30", 1),
        Attempts::Counted(attempts) => fail("30", attempts),
        Attempts::Retried => {
            fail("0", 1);
            let before = count();
            azure.next(endpoint, row.response.clone());
            let outcome = run(&["--timeout", "30"]).outcome();
            assert_eq!(outcome.code, Some(good), "{}", outcome.stderr);
            assert_eq!(count() - before, 2, "requests of a success");
        }
    }
}

/// Runs `test` for every named row, several at a time, each worker with an [`Azure`] of its own. Fails with the names of
/// all rows that failed.
fn each<T: Send>(rows: Vec<(String, T)>, test: impl Fn(&Azure, &T) + Sync) {
    let workers = PARALLEL.min(rows.len());
    assert!(workers > 0, "the table is empty");
    let (rows, failed) = (Mutex::new(rows.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let azure = Azure::start();
                loop {
                    let Some((name, row)) = rows.lock().unwrap().next() else {
                        return;
                    };
                    if catch_unwind(AssertUnwindSafe(|| test(&azure, &row))).is_err() {
                        failed.lock().unwrap().push(name);
                        Endpoint::ALL.into_iter().for_each(|it| azure.clear(it));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "rows that failed: {failed:?}");
}

/// Runs `test` for every value, several at a time.
pub fn in_parallel<T: Send>(values: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let values: Vec<T> = values.into_iter().collect();
    let workers = PARALLEL.min(values.len());
    let values = Mutex::new(values.into_iter());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(value) = values.lock().unwrap().next() else {
                        return;
                    };
                    test(value);
                }
            });
        }
    });
}

/// The `cause` that belongs to an exit code.
pub fn cause_of(code: i32) -> &'static str {
    match code {
        64 => "usage",
        66 => "not found",
        69 => "unavailable",
        73 => "cannot create",
        76 => "protocol",
        77 => "denied",
        78 => "config",
        126 => "not executable",
        127 => "command not found",
        _ => panic!("{code} has no cause"),
    }
}

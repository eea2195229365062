//! What IMDS and NMI get over by themselves: it is asked again, and said when there is no time for that.

use super::{asking, id};
use crate::azure::{Answer, Azure, Door};
use crate::network::full_queue::FullQueue;
use crate::network::wire::{all_at_once, assert_got_it, counts, one_secret};
use crate::support::THROTTLED;

const NMI_HINT: &str = "aad-pod-identity answers here: look at the aadpodidbinding label, the AzureIdentityBinding and \
                        the NMI's logs; a client id must be written as in the AzureIdentity, case included";

/// The hint where nobody answers.
fn nobody_hint(base: &str) -> String {
    format!(
        "hint: not on Azure, or a network policy blocks {base}, or this is an init container where those have no \
         identity (Container Instances; Container Apps outside the Consumption workload profile)"
    )
}

/// Section by section what the platform heals by itself, and I13, I15.
#[test]
fn what_can_get_better_is_asked_again() {
    let rows = [
        ("I13", Answer::status(404)),
        ("410", Answer::status(410)),
        (
            "429",
            Answer::imds_error(429, "too_many_requests", "Too many requests"),
        ),
        ("408", Answer::status(408)),
        ("500", Answer::imds_failed()),
        ("501", Answer::status(501)),
        ("502", Answer::html(502, "<h1>Bad Gateway</h1>")),
        ("503", Answer::status(503)),
        ("504", Answer::html(504, "")),
        ("NMI 403", Answer::nmi_refused()),
        ("NMI 404", Answer::nmi_unassigned()),
        (
            "NMI 404 by client id",
            Answer::nmi(
                404,
                "no azure identity found for request clientID 1111##### REDACTED #####5555",
            ),
        ),
        ("N2", Answer::nmi(500, "request remote address is empty")),
        ("NMI 500", Answer::nmi(500, "pod list is empty")),
        ("NMI 503", Answer::nmi(503, "health check failed")),
        ("403, text", Answer::nmi(403, "Forbidden")),
        ("closed", Answer::fin()),
        ("reset", Answer::reset()),
        ("half", Answer::usual().half()),
    ];
    all_at_once(rows, |(id, answer)| {
        let azure = Azure::start();
        azure.next(Door::Imds, answer);
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(0), "{id}: {}", outcome.stderr);
        assert_got_it(&outcome);
        assert_eq!(counts(&azure), [2, 0, 1], "{id}");
    });
}

#[test]
fn with_no_time_at_all_what_can_get_better_is_said_after_one_try() {
    let azure = Azure::start();
    let nmi = "getting assigned identities for pod default/app in CREATED state failed after 16 attempts, retry \
               duration [5]s, error: <nil>. Check MIC pod logs for identity assignment errors";
    let refresh = "failed to refresh token, error: adal: Refresh request failed. Status Code = '400'. Response body: \
                   {\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}";
    for (row, answer, code, said, hint) in [
        ("404", Answer::status(404), 69, "404 Not Found".to_owned(), ""),
        ("410", Answer::status(410), 69, "410 Gone".to_owned(), ""),
        ("I11", Answer::status(501), 69, "501 Not Implemented".to_owned(), ""),
        ("I11", Answer::status(503), 69, "503 Service Unavailable".to_owned(), ""),
        (
            "429",
            Answer::imds_error(429, "too_many_requests", "Too many requests"),
            69,
            "429 Too Many Requests (too_many_requests): Too many requests".to_owned(),
            THROTTLED.strip_prefix("hint: ").unwrap(),
        ),
        (
            "500",
            Answer::imds_failed(),
            69,
            "500 Internal Server Error (unknown): Failed to retrieve token from the Active directory. For details see \
             logs in C:\\logs\\identity.log"
                .to_owned(),
            "",
        ),
        (
            "N2",
            Answer::nmi(500, "request remote address is empty"),
            69,
            "500 Internal Server Error: request remote address is empty".to_owned(),
            "",
        ),
        (
            "NMI 404",
            Answer::nmi_unassigned(),
            77,
            format!("404 Not Found: {nmi}"),
            NMI_HINT,
        ),
        (
            "NMI 403",
            Answer::nmi_refused(),
            77,
            format!("403 Forbidden: {refresh}"),
            NMI_HINT,
        ),
        (
            "closed",
            Answer::fin(),
            69,
            "the connection was closed before the answer was whole".to_owned(),
            "",
        ),
    ] {
        let before = counts(&azure);
        azure.next(Door::Imds, answer);
        let outcome = one_secret(&azure, &["--timeout", "0"]).outcome();
        let mut lines = vec![format!("{}: {said}", asking(&azure))];
        if row != "closed" {
            lines[0].push_str(&id(&azure));
        }
        if !hint.is_empty() {
            lines.push(format!("hint: {hint}"));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        outcome.failed(code, &lines);
        assert_eq!(counts(&azure)[0] - before[0], 1, "{row}");
    }
}

#[test]
fn nobody_listening_may_be_a_machine_without_identity() {
    let azure = Azure::builder().closed(Door::Imds).start();
    let line = format!("{}: connection refused", asking(&azure));
    one_secret(&azure, &["--timeout", "0"])
        .outcome()
        .failed(69, &[&line, &nobody_hint(&azure.imds())]);
}

/// As a network policy does it: packets are dropped, and the deadline comes before the limit of one try.
#[test]
fn no_connection_may_be_a_machine_without_identity_too() {
    let azure = Azure::start();
    let full = FullQueue::new();
    let base = format!("http://{}", full.address());
    let line = format!(
        "error: getting an access token from IMDS ({base}, managed identity): no connection before the deadline"
    );
    one_secret(&azure, &["--timeout", "1"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &base)
        .outcome()
        .failed(69, &[&line, &nobody_hint(&base)]);
}

#[test]
fn a_connection_without_an_answer_ends_at_the_deadline() {
    let azure = Azure::start();
    azure.mute(Door::Imds);
    let outcome = one_secret(&azure, &["--timeout", "1"]).outcome();
    let line = format!("{}: no answer before the deadline", asking(&azure));
    assert_eq!(outcome.error(), Some(&line["error: ".len()..]));
    assert_eq!(outcome.code, Some(69));
}

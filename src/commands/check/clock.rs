//! This machine's clock, compared with the `Date` headers of responses.

use super::report::Link;

/// The smallest difference worth a warning, in seconds: Entra allows 5 minutes.
const TOLERANCE: i64 = 120;
/// The difference that a slow response explains, in seconds.
const DELAY: i64 = 5;

/// The clock's link, if there was any response. `skews` are servers and how far their clocks are ahead, in seconds.
pub fn link(mut skews: Vec<(String, i64)>) -> Option<Link> {
    // Of each server the smallest skew: that of the fastest response.
    skews.sort_by_key(|(server, skew)| (server.clone(), skew.abs()));
    skews.dedup_by_key(|(server, _)| server.clone());
    let (_, largest) = skews.iter().max_by_key(|(_, skew)| skew.abs())?;
    let (right, wrong): (Vec<_>, Vec<_>) =
        skews.iter().partition(|(_, skew)| skew.abs() <= TOLERANCE);
    let link = Link::passed("clock", "", differences(&right)).fact("skew", *largest);
    let hint = match (right.is_empty(), wrong.is_empty()) {
        (_, true) => return Some(link),
        (true, false) => {
            "set this node's clock; in a virtual machine, fix its time synchronization"
        }
        (false, false) => {
            "is the clock of that server wrong, or does a proxy or cache send an old date?"
        }
    };
    Some(link.warn(&differences(&wrong), Some(hint)))
}

/// Each difference once, with its servers.
fn differences(skews: &[&(String, i64)]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (server, skew) in skews {
        let difference = difference(*skew);
        match groups.iter_mut().find(|(known, _)| *known == difference) {
            Some((_, servers)) => servers.push(server),
            None => groups.push((difference, vec![server])),
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(difference, servers)| format!("{difference} {}", servers.join(" and ")))
        .collect();
    groups.join(", ")
}

/// Rounded, so that it does not change from one second to the next.
fn difference(skew: i64) -> String {
    let (number, unit) = match skew.abs() {
        seconds if seconds <= DELAY => return "agrees with".to_owned(),
        seconds if seconds <= TOLERANCE => return "within 2 minutes of".to_owned(),
        seconds @ ..7_200 => ((seconds + 30) / 60, "minutes"),
        seconds @ ..172_800 => ((seconds + 1_800) / 3_600, "hours"),
        seconds => ((seconds + 43_200) / 86_400, "days"),
    };
    let side = if skew > 0 { "behind" } else { "ahead of" };
    format!("{number} {unit} {side}")
}

//! This machine's clock, compared with the `Date` headers of responses.

use super::report::Check;

/// The largest clock skew that causes no warning. Entra itself allows 5 minutes.
const TOLERATED_SKEW_SECONDS: i64 = 120;
/// The largest clock skew that a slow response alone can explain.
const MAX_DELAY_SECONDS: i64 = 5;

/// The check of this machine's clock; `None` if there was no response. `skews` holds, for each response, the server
/// and by how many seconds its clock is ahead of this machine's.
pub fn clock_check(mut skews: Vec<(String, i64)>) -> Option<Check> {
    // For each server the smallest skew, which is probably that of the fastest response.
    skews.sort_by_key(|(server, skew)| (server.clone(), skew.abs()));
    skews.dedup_by_key(|(server, _)| server.clone());
    let (_, largest_skew) = skews.iter().max_by_key(|(_, skew)| skew.abs())?;
    let (agreeing, disagreeing): (Vec<_>, Vec<_>) = skews
        .iter()
        .partition(|(_, skew)| skew.abs() <= TOLERATED_SKEW_SECONDS);
    let check = Check::passed("clock", "", describe_skews(&agreeing)).fact("skew", *largest_skew);
    let hint = match (agreeing.is_empty(), disagreeing.is_empty()) {
        (_, true) => return Some(check),
        (true, false) => {
            "set this node's clock; in a virtual machine, fix its time synchronization"
        }
        (false, false) => {
            "is the clock of that server wrong, or does a proxy or cache send an old date?"
        }
    };
    Some(check.warn(&describe_skews(&disagreeing), Some(hint)))
}

/// Describes each skew with its servers: `agrees with A and B, 3 hours behind C`.
fn describe_skews(skews: &[&(String, i64)]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (server, skew) in skews {
        let description = describe_skew(*skew);
        match groups.iter_mut().find(|(known, _)| *known == description) {
            Some((_, servers)) => servers.push(server),
            None => groups.push((description, vec![server])),
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(description, servers)| format!("{description} {}", servers.join(" and ")))
        .collect();
    groups.join(", ")
}

/// Describes this machine's clock relative to a server's, which is `skew` seconds ahead. The text is rounded, so that
/// it stays the same from one second to the next.
fn describe_skew(skew: i64) -> String {
    let (number, unit) = match skew.abs() {
        seconds if seconds <= MAX_DELAY_SECONDS => return "agrees with".to_owned(),
        seconds if seconds <= TOLERATED_SKEW_SECONDS => return "within 2 minutes of".to_owned(),
        seconds @ ..7_200 => ((seconds + 30) / 60, "minutes"),
        seconds @ ..172_800 => ((seconds + 1_800) / 3_600, "hours"),
        seconds => ((seconds + 43_200) / 86_400, "days"),
    };
    let direction = if skew > 0 { "behind" } else { "ahead of" };
    format!("{number} {unit} {direction}")
}

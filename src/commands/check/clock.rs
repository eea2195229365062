//! The servers' clocks, and which errors they explain.

use super::report::{Link, State};

/// By how much clocks may differ, in seconds, before that is worth a warning: Entra allows 5 minutes.
const SKEW: i64 = 120;
/// What the way of an answer may cost, in seconds.
const DELAY: i64 = 5;

/// What is known of the time.
enum Time {
    /// Some server's clock is ours; whose.
    Right(String),
    /// None is, and how far ours is from one of theirs.
    Wrong(String),
}

/// Tells of the clocks, and of the errors that they explain.
pub fn look(seen: &[(String, i64)], links: &mut [Link]) -> Option<Link> {
    let seen = by_host(seen);
    let (right, wrong): (Vec<_>, Vec<_>) = seen.iter().partition(|(_, skew)| skew.abs() <= SKEW);
    let furthest = seen.iter().max_by_key(|(_, skew)| skew.abs())?;
    let agreeing = || {
        let hosts: Vec<&str> = right.iter().map(|(host, _)| host.as_str()).collect();
        let slow = right.iter().any(|(_, skew)| skew.abs() > DELAY);
        let about = if slow {
            "within 2 minutes of"
        } else {
            "the same as"
        };
        format!("{about} that of {}", hosts.join(" and "))
    };
    let apart = apart(&wrong);
    let link = match (right.is_empty(), wrong.is_empty()) {
        (_, true) => Link::good("clock", "", agreeing()),
        (true, false) => Link::good("clock", "", "").warn(
            &apart,
            Some("set this node's clock; in a virtual machine: its time synchronisation"),
        ),
        (false, false) => Link::good("clock", "", agreeing()).warn(
            &apart,
            Some("is that clock wrong, or does something on the way answer with an old date?"),
        ),
    };
    let time = match right.is_empty() {
        true => Time::Wrong(apart),
        false => Time::Right(agreeing()),
    };
    for link in links {
        if link.state == State::Failed && link.is_of_time {
            explain(link, &time);
        }
    }
    Some(link.fact("skew", furthest.1))
}

/// A error that is about the time, where the time is known.
fn explain(link: &mut Link, time: &Time) {
    match time {
        Time::Wrong(distance) => {
            link.text = format!("{}; this machine's clock is {distance}", link.text);
            link.hint = Some(
                "set this node's clock; in a virtual machine: its time synchronisation".to_owned(),
            );
        }
        Time::Right(agreeing) => {
            link.text = format!("{}; this machine's clock is {agreeing}", link.text);
            let host = &link.subject;
            link.hint = match link.kind {
                "connection" => Some(format!(
                    "whoever runs {host}, or what intercepts TLS on the way, must renew the certificate"
                )),
                _ => link.hint.take(),
            };
        }
    }
}

/// Each host once, in order; of several answers the one that was quickest on its way.
fn by_host(seen: &[(String, i64)]) -> Vec<(String, i64)> {
    let mut hosts: Vec<(String, i64)> = Vec::new();
    for (origin, skew) in seen {
        let host = origin.split("://").nth(1).unwrap_or(origin).to_owned();
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, least)) if skew.abs() < least.abs() => *least = *skew,
            Some(_) => {}
            None => {
                let at = hosts.partition_point(|(known, _)| *known < host);
                hosts.insert(at, (host, *skew));
            }
        }
    }
    hosts
}

/// How far ours is from theirs, each distance once.
fn apart(wrong: &[&(String, i64)]) -> String {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for (host, skew) in wrong {
        let distance = distance(*skew);
        match found.iter_mut().find(|(known, _)| *known == distance) {
            Some((_, hosts)) => hosts.push(host),
            None => found.push((distance, vec![host])),
        }
    }
    let found = found
        .into_iter()
        .map(|(distance, hosts)| format!("{distance} that of {}", hosts.join(" and ")));
    found.collect::<Vec<_>>().join(", ")
}

/// In words that do not change from one second to the next.
fn distance(skew: i64) -> String {
    let (number, unit) = match skew.abs() {
        seconds @ ..7_200 => ((seconds + 30) / 60, "minutes"),
        seconds @ ..172_800 => ((seconds + 1_800) / 3_600, "hours"),
        seconds => ((seconds + 43_200) / 86_400, "days"),
    };
    let side = if skew > 0 { "behind" } else { "ahead of" };
    format!("{number} {unit} {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seen: &[(&str, i64)]) -> Option<String> {
        let seen: Vec<_> = seen
            .iter()
            .map(|(origin, skew)| ((*origin).to_owned(), *skew))
            .collect();
        look(&seen, &mut []).map(|link| link.text)
    }

    #[test]
    fn clocks_are_compared_with_every_host_once() {
        let (a, b) = ("https://a.example", "http://b.example:81");
        for (seen, expected) in [
            (
                vec![(b, 0), (a, -1), (b, 1)],
                "the same as that of a.example and b.example:81",
            ),
            (vec![(a, 60)], "within 2 minutes of that of a.example"),
            (
                vec![(a, 3_600), (b, 3_599)],
                "60 minutes behind that of a.example and b.example:81",
            ),
            (vec![(a, -864_000)], "10 days ahead of that of a.example"),
            (
                vec![(a, 0), (b, 9_000)],
                "the same as that of a.example; 3 hours behind that of b.example:81",
            ),
        ] {
            assert_eq!(told(&seen).as_deref(), Some(expected));
        }
        assert_eq!(told(&[]), None);
    }
}

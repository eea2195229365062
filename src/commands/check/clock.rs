//! This machine's clock, compared with the `Date` headers of responses.

use super::report::Link;

/// The smallest difference worth a warning, in seconds: Entra allows 5 minutes.
const TOLERANCE: i64 = 120;
/// The difference that a slow response explains, in seconds.
const DELAY: i64 = 5;

/// The clock's link, if there was any response. `skews` are origins and how far their clocks are ahead, in seconds.
pub fn link(skews: &[(String, i64)]) -> Option<Link> {
    let skews = by_host(skews);
    let (_, largest) = skews.iter().max_by_key(|(_, skew)| skew.abs())?;
    let (right, wrong): (Vec<_>, Vec<_>) =
        skews.iter().partition(|(_, skew)| skew.abs() <= TOLERANCE);
    let is_slow = right.iter().any(|(_, skew)| skew.abs() > DELAY);
    let hosts: Vec<&str> = right.iter().map(|(host, _)| host.as_str()).collect();
    let agreement = match (hosts.is_empty(), is_slow) {
        (true, _) => String::new(),
        (_, true) => format!("within 2 minutes of that of {}", hosts.join(" and ")),
        (_, false) => format!("the same as that of {}", hosts.join(" and ")),
    };
    let link = Link::good("clock", "", agreement).fact("skew", *largest);
    let hint = match (right.is_empty(), wrong.is_empty()) {
        (_, true) => return Some(link),
        (true, false) => "set this node's clock; in a virtual machine: its time synchronisation",
        (false, false) => {
            "is that clock wrong, or does a proxy or cache in between send an old date?"
        }
    };
    Some(link.warn(&differences(&wrong), Some(hint)))
}

/// Each host once, sorted, with its smallest skew: that of the fastest response.
fn by_host(skews: &[(String, i64)]) -> Vec<(String, i64)> {
    let host_of = |origin: &str| origin.split("://").last().unwrap_or(origin).to_owned();
    let mut hosts: Vec<(String, i64)> = skews
        .iter()
        .map(|(origin, skew)| (host_of(origin), *skew))
        .collect();
    hosts.sort_by_key(|(host, skew)| (host.clone(), skew.abs()));
    hosts.dedup_by_key(|(host, _)| host.clone());
    hosts
}

/// Each difference once, with its hosts.
fn differences(wrong: &[&(String, i64)]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (host, skew) in wrong {
        let difference = difference(*skew);
        match groups.iter_mut().find(|(known, _)| *known == difference) {
            Some((_, hosts)) => hosts.push(host),
            None => groups.push((difference, vec![host])),
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(difference, hosts)| format!("{difference} that of {}", hosts.join(" and ")))
        .collect();
    groups.join(", ")
}

/// Rounded, so that it does not change from one second to the next.
fn difference(skew: i64) -> String {
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

    fn text(skews: &[(&str, i64)]) -> Option<String> {
        let skews: Vec<_> = skews
            .iter()
            .map(|(origin, skew)| ((*origin).to_owned(), *skew))
            .collect();
        link(&skews).map(|link| link.text)
    }

    #[test]
    fn clock_is_compared_with_each_host_once() {
        let (a, b) = ("https://a.example", "http://b.example:81");
        for (skews, expected) in [
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
            assert_eq!(text(&skews).as_deref(), Some(expected));
        }
        assert_eq!(text(&[]), None);
    }
}

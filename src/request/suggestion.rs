//! "Did you mean …?" for a name that is nearly a known one.

/// The known name that is nearest: at most two edits away, else one that begins with the name, else one that the name
/// begins with.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.trim_start_matches('-').len();
    let near = known.filter_map(|known| {
        let edits = distance(name.as_bytes(), known.as_bytes());
        let rank = match letters {
            0 => return None,
            _ if edits <= 2 && edits < letters => 0,
            _ if known.starts_with(name) => 1,
            _ if name.starts_with(known) => 2,
            _ => return None,
        };
        Some((rank, edits, known))
    });
    near.min().map(|(.., known)| known)
}

/// The number of bytes to insert, remove or replace (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_suggested() {
        let known = ["--timeout", "--vault", "--vault-resource", "--verbose"];
        for (name, expected) in [
            ("--valt", Some("--vault")),
            ("--timeuot", Some("--timeout")),
            ("--vault-res", Some("--vault-resource")),
            ("--timeouts-of-all", Some("--timeout")),
            ("-vault", Some("--vault")),
            ("--frobnicate", None),
            ("-x", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}

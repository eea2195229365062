//! "Did you mean …?" for a name that is nearly a known one.

/// The known name that is nearest, among those at most two edits away and those that begin with the name.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.trim_start_matches('-').len();
    let near = known.filter_map(|known| {
        let edits = distance(name.as_bytes(), known.as_bytes());
        let is_near = edits <= 2 && edits < letters;
        let is_start = letters > 0 && known.starts_with(name);
        (is_near || is_start).then_some((edits, known))
    });
    near.min().map(|(_, known)| known)
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

//! "Did you mean …?" for a name that is nearly a known one.

/// The known name that is most similar to `name`: at most two edits away, or beginning with `name`. `None` if there is
/// none.
pub fn nearest<'a>(name: &str, known_names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.trim_start_matches('-').len();
    let near_names = known_names.filter_map(|known| {
        let edits = edit_distance(name.as_bytes(), known.as_bytes());
        let is_near = edits <= 2 && edits < length;
        let is_start = length > 0 && known.starts_with(name);
        (is_near || is_start).then_some((edits, known))
    });
    near_names.min().map(|(_, known)| known)
}

/// The minimum number of bytes to insert, remove or replace to turn one name into the other (Levenshtein distance).
fn edit_distance(one: &[u8], other: &[u8]) -> usize {
    let mut distances: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.iter().enumerate() {
        let mut diagonal = distances[0];
        distances[0] = index + 1;
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != expected);
            diagonal = distances[column + 1];
            distances[column + 1] = replaced.min(diagonal + 1).min(distances[column] + 1);
        }
    }
    distances[other.len()]
}

//! Conversions between UTC calendar dates and Unix seconds: the few layouts that Azure sends, and one to print.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds in a day.
const DAY: i64 = 86_400;

/// The current time in Unix seconds.
pub fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}

/// Formats Unix seconds as `2026-01-31 23:59:59 UTC`. A time before the year 1 or after 9999 is shown as the first or
/// last second of these years.
pub fn format(unix_seconds: i64) -> String {
    let first = days_since_epoch(1, 1, 1) * DAY;
    let last = days_since_epoch(10_000, 1, 1) * DAY - 1;
    let unix_seconds = unix_seconds.clamp(first, last);
    let (days, second) = (unix_seconds.div_euclid(DAY), unix_seconds.rem_euclid(DAY));
    let has_begun = |year, month| days_since_epoch(year, month, 1) <= days;
    let mut years = (1..=9_999).rev();
    let year = years.find(|year| has_begun(*year, 1)).unwrap_or(1);
    let mut months = (2..=12).rev();
    let month = months.find(|month| has_begun(year, *month)).unwrap_or(1);
    let day = days - days_since_epoch(year, month, 1) + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Parses an HTTP date to Unix seconds: `Thu, 31 Dec 2020 23:59:50 GMT` (RFC 9110, IMF-fixdate). `None` if it is
/// malformed.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [_weekday, day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month)? / 3 + 1;
    parse_date_time(&format!("{year}-{month}-{day} {time}"))
}

/// Parses a date with a time to Unix seconds, in any layout in which token responses have `expires_on`:
/// `12/31/2024 23:59:59`, `12/31/2024 23:59:59 +00:00`, `1/16/2020 5:24:12 AM +00:00`, `2024-12-31 23:59:59`, or RFC
/// 3339. A time without an offset is in UTC. `None` if the text has no such layout.
pub fn parse_date_time(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let date = match parse_numbers(date, '/') {
        Some([month, day, year]) => [year, month, day],
        None => parse_numbers(date, '-')?,
    };
    let is_in_time = |c: char| c == ':' || c.is_ascii_digit();
    let (time, rest) = rest.split_at(rest.find(|c| !is_in_time(c)).unwrap_or(rest.len()));
    let [hour, minute, second] = parse_numbers(time, ':')?;
    let is_in_fraction = |c: char| c == '.' || c.is_ascii_digit();
    let rest = rest.trim_start_matches(is_in_fraction).trim();
    let (hour, rest) = match rest.split_at_checked(2).filter(|_| hour <= 12) {
        Some(("AM", rest)) => (hour % 12, rest.trim_start()),
        Some(("PM", rest)) => (hour % 12 + 12, rest.trim_start()),
        _ => (hour, rest),
    };
    let [offset_hours, offset_minutes] = match rest.trim_start_matches(['+', '-']) {
        "" | "Z" => [0, 0],
        offset => parse_numbers(offset, ':')?,
    };
    let offset = offset_hours * 3_600 + offset_minutes * 60;
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    Some(unix_seconds(date, [hour, minute, second])? - sign * offset)
}

/// Parses exactly `COUNT` numbers, separated by `separator`; `None` if the text is anything else.
fn parse_numbers<const COUNT: usize>(text: &str, separator: char) -> Option<[i64; COUNT]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; COUNT];
    for number in &mut numbers {
        *number = parts.next()?.parse::<u16>().ok()?.into();
    }
    parts.next().is_none().then_some(numbers)
}

/// Converts a UTC date and time to Unix seconds; `None` if one of the numbers is out of range.
pub fn unix_seconds([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let is_date =
        (1..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    (is_date && hour < 24 && minute < 60 && second < 61)
        .then(|| days_since_epoch(year, month, day) * DAY + hour * 3_600 + minute * 60 + second)
}

/// The number of days from 1970-01-01 to a date
/// (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, so that the leap day is a year's last.
    let year = year - i64::from(month <= 2);
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_formatted() {
        assert_eq!(format(1_709_164_800), "2024-02-29 00:00:00 UTC");
        assert_eq!(format(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(format(i64::MIN), "0001-01-01 00:00:00 UTC");
        assert_eq!(format(i64::MAX), "9999-12-31 23:59:59 UTC");
    }
}

//! Calendar dates as Unix seconds, UTC, both ways: the few layouts that Azure sends, and one to print.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds now.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// `2026-01-31 23:59:59 UTC`.
pub fn format(unix: i64) -> String {
    let (days, seconds) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    // Days since 0000-03-01, so that the leap day is a year's last
    // (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// An HTTP date, `Thu, 31 Dec 2020 23:59:50 GMT` (RFC 9110, IMF-fixdate).
pub fn parse_http(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [_weekday, day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month)? / 3 + 1;
    unix(
        [number(year)?, month as i64, number(day)?],
        three_numbers(time, ':')?,
    )
}

/// The dates that token responses have in `expires_on`: `12/31/2024 23:59:59`, the same with ` +00:00`,
/// `1/16/2020 5:24:12 AM +00:00`, `2024-12-31 23:59:59`, and RFC 3339. UTC where no offset is written.
pub fn parse_expiry(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let date = match three_numbers(date, '/') {
        Some([month, day, year]) => [year, month, day],
        None => three_numbers(date, '-')?,
    };
    let (rest, offset) = split_offset(rest.trim_end())?;
    let (clock, half) = match rest.trim_end().split_once(' ') {
        Some((clock, half)) => (clock, Some(half)),
        None => (rest.trim_end(), None),
    };
    let [hour, minute, second] = three_numbers(clock.split('.').next()?, ':')?;
    let hour = match half {
        None => hour,
        Some("AM") if (1..=12).contains(&hour) => hour % 12,
        Some("PM") if (1..=12).contains(&hour) => hour % 12 + 12,
        Some(_) => return None,
    };
    Some(unix(date, [hour, minute, second])? - offset)
}

/// Splits `…Z` or `…±hh:mm` into the part before the offset, and the offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Some((rest, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let offset = number(hours)? * 3_600 + number(minutes)? * 60;
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    Some((&text[..at], sign * offset))
}

fn three_numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(number);
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Unix seconds of a date and a time (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
pub fn unix([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let is_date =
        (1..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    (is_date && hour < 24 && minute < 60 && second < 61).then_some(())?;
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()))
        .then_some(())?;
    text.parse().ok()
}

//! Durations as people write them: `10m`, `1h 30m`, `1d`, `500ms`.

use std::time::Duration;

/// Longest duration that is accepted, in seconds: ten years. Longer ones overflow clocks somewhere.
const MAX_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

/// Reads numbers with units (`w`, `d`, `h`, `m`, `s`, `ms`), one after another, with or without spaces.
/// Returns `None` when the text is anything else, empty, or longer than ten years.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        seconds += amount * unit(&after[..letters])?;
        rest = after[letters..].trim_start();
    }
    (seconds <= MAX_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

fn unit(letters: &str) -> Option<f64> {
    Some(match letters {
        "w" => 7.0 * 86_400.0,
        "d" => 86_400.0,
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 0.001,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("10m", Some(600_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("1w", Some(604_800_000)),
            ("500ms", Some(500)),
            ("0.5h", Some(1_800_000)),
            ("", None),
            ("10", None),
            ("m", None),
            ("10 minutes", None),
            ("-1m", None),
            ("99999999999w", None),
            ("1.2.3s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|d| d.as_millis()), expected, "{text:?}");
        }
    }
}

//! Seconds on the command line.

use std::time::Duration;

/// A number of seconds, which may have a fraction.
///
/// # Errors
/// In words, for whoever typed it.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_taken_and_what_is_no_time_is_not() {
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "-1", "x", "inf", "nan", "1e300"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong:?}");
        }
    }
}

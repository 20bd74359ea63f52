//! Medians and spreads of a few rounds.

/// The middle of some measurements, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stat {
    /// The median.
    pub(crate) median: f64,
    /// Half the interquartile range: half of the rounds lie within about this much of the median.
    pub(crate) spread: f64,
}

impl Stat {
    /// Of these values; none if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let median = quantile(&values, 0.5)?;
        let spread = (quantile(&values, 0.75)? - quantile(&values, 0.25)?) / 2.0;
        Some(Self { median, spread })
    }
}

/// The quantile of sorted values, interpolated between the two that it lies between.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short slice")]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    Some(sorted[low] + (sorted[high] - sorted[low]) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_half_of_what_the_middle_half_covers() {
        assert_eq!(Stat::of([5.0, 1.0, 3.0, 2.0, 4.0]), Some(Stat { median: 3.0, spread: 1.0 }));
        assert_eq!(Stat::of([1.0, 2.0]), Some(Stat { median: 1.5, spread: 0.25 }));
        assert_eq!(Stat::of([7.0]), Some(Stat { median: 7.0, spread: 0.0 }));
    }

    #[test]
    fn what_is_no_number_does_not_count() {
        assert_eq!(Stat::of([]), None);
        assert_eq!(Stat::of([f64::NAN]), None);
        assert_eq!(Stat::of([f64::INFINITY, 2.0]), Some(Stat { median: 2.0, spread: 0.0 }));
    }

    #[test]
    fn one_round_that_went_wrong_does_not_move_the_median() {
        let stat = Stat::of([1.0, 1.1, 0.9, 1.0, 50.0]).expect("a median");
        assert!((stat.median - 1.0).abs() < 1e-9 && stat.spread < 0.1, "{stat:?}");
    }
}

//! Periods, and what a part of one costs: whole minor units, by the second.

use chrono::{DateTime, Days, Months, Utc};

/// What of `amount` belongs to the unused part of a period, `remaining` of `whole` seconds.
///
/// It is what is left after the used part has been rounded to the nearest unit, so both parts together are always the amount.
pub fn unused(amount: i64, remaining: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    let (amount, whole) = (i128::from(amount), i128::from(whole));
    let used = whole - i128::from(remaining).clamp(0, whole);
    let cost = (2 * amount * used + whole) / (2 * whole);
    i64::try_from(amount - cost).unwrap_or_default()
}

/// What has to be paid of a total by somebody with a balance, and the balance after it. A balance below zero is money that we owe them;
/// a total below zero adds to it and is never paid out (<https://docs.stripe.com/billing/customer/balance>).
pub fn due(total: i64, balance: i64) -> (i64, i64) {
    let sum = total.saturating_add(balance);
    (sum.max(0), sum.min(0))
}

/// The end of the period that begins at `from`, of those that are counted from `anchor`: a month that is too short ends with its
/// last day, and the next one has the anchor's day again.
pub fn period_end(anchor: DateTime<Utc>, interval: &str, count: i64, from: DateTime<Utc>) -> DateTime<Utc> {
    let count = u32::try_from(count).unwrap_or(1).max(1);
    let after = |periods: u32| {
        let units = periods.checked_mul(count)?;
        match interval {
            "day" => anchor.checked_add_days(Days::new(units.into())),
            "week" => anchor.checked_add_days(Days::new(u64::from(units) * 7)),
            "year" => anchor.checked_add_months(Months::new(units.checked_mul(12)?)),
            _ => anchor.checked_add_months(Months::new(units)),
        }
    };
    (1..).map_while(after).find(|end| *end > from).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect(text)
    }

    #[test]
    fn a_month_too_short_ends_with_its_last_day_and_the_next_is_whole_again() {
        let anchor = at("2026-01-31T12:00:00Z");
        let ends = ["2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"].map(at);
        assert_eq!(period_end(anchor, "month", 1, anchor), ends[0]);
        assert_eq!(period_end(anchor, "month", 1, ends[0]), ends[1]);
        assert_eq!(period_end(anchor, "month", 1, ends[1]), ends[2]);
        assert_eq!(
            period_end(at("2024-02-29T00:00:00Z"), "year", 1, at("2024-02-29T00:00:00Z")),
            at("2025-02-28T00:00:00Z")
        );
        assert_eq!(period_end(anchor, "week", 2, anchor), at("2026-02-14T12:00:00Z"));
        assert_eq!(period_end(anchor, "day", 1, at("2026-02-02T00:00:00Z")), at("2026-02-02T12:00:00Z"));
    }

    #[test]
    fn half_a_month_costs_half() {
        assert_eq!(unused(2_900, 15, 30), 1_450);
        assert_eq!(unused(2_900, 30, 30), 2_900);
        assert_eq!(unused(2_900, 0, 30), 0);
        assert_eq!(unused(1, 1, 2), 0, "half a unit is used, and rounded up");
    }

    proptest! {
        #[test]
        fn used_and_unused_are_the_amount_and_neither_is_negative(
            amount in 0..=9_999_999_999_i64, whole in 1..=366 * 86_400_i64, part in 0.0..=1.0_f64,
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let remaining = (whole as f64 * part) as i64;
            let left = unused(amount, remaining, whole);
            prop_assert!((0..=amount).contains(&left));
            prop_assert!(unused(amount, remaining.saturating_sub(1), whole) <= left, "it only gets less");
            let exact = i128::from(amount) * i128::from(remaining);
            prop_assert!((exact - i128::from(left) * i128::from(whole)).abs() <= i128::from(whole), "within one unit");
        }

        #[test]
        fn nothing_negative_is_charged_and_no_money_is_lost(
            total in -9_999_999_999..=9_999_999_999_i64, balance in -9_999_999_999..=0_i64,
        ) {
            let (due, left) = due(total, balance);
            prop_assert!(due >= 0 && left <= 0);
            prop_assert_eq!(total + balance, due + left);
        }

        #[test]
        fn switching_there_and_back_at_once_costs_nothing(
            old in 0..=9_999_999_i64, new in 0..=9_999_999_i64, whole in 1..=366 * 86_400_i64, used in 0..=366 * 86_400_i64,
        ) {
            let remaining = (whole - used).max(0);
            let there = unused(new, remaining, whole) - unused(old, remaining, whole);
            let back = unused(old, remaining, whole) - unused(new, remaining, whole);
            prop_assert_eq!(there + back, 0);
        }
    }
}

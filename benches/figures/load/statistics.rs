//! Order statistics.

use std::time::Duration;

/// The time that `percent` of all times do not exceed, in seconds; 0 of none.
pub fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    if times.is_empty() { 0.0 } else { times.select_nth_unstable(index).1.as_secs_f64() }
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((values[values.len() / 2 - 1] + upper) / 2.0) }
}

//! Whether numbers look drawn by chance. Deviations are those of the normal distribution that each figure would have then.

use crate::tier::tier;
use std::collections::{BTreeMap, BTreeSet};

/// Deviations that chance does not make: not in any of millions of runs, where every run has to pass; at full length p is within
/// 0.001 and 0.999.
pub(crate) fn most() -> f64 {
    tier().pick(5.0, 5.0, 3.29)
}
/// Parts that a range is cut into.
const PARTS: usize = 64;

/// How many values there are, each counted once.
pub(crate) fn distinct(values: &[u16]) -> usize {
    values.iter().collect::<BTreeSet<_>>().len()
}

/// How far the values are from being spread evenly over `0..range`, by a chi-squared test.
pub(crate) fn evenness(values: &[u16], range: usize) -> f64 {
    let mut counts = [0_usize; PARTS];
    values.iter().for_each(|&value| counts[usize::from(value) * PARTS / range] += 1);
    let expected = values.len() as f64 / PARTS as f64;
    let sum = counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
    deviations(sum, PARTS - 1)
}

/// How much a value says of the next.
pub(crate) fn correlation_with_the_next(values: &[u16]) -> f64 {
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
    let apart = |value: u16| f64::from(value) - mean;
    let variance: f64 = values.iter().map(|&value| apart(value).powi(2)).sum();
    values.windows(2).map(|two| apart(two[0]) * apart(two[1])).sum::<f64>() / variance
}

/// How much the first of a pair says of the second, each one of `0..parts`, by a chi-squared test of independence.
pub(crate) fn dependence(pairs: &[(usize, usize)], parts: usize) -> f64 {
    let counts = |of: &dyn Fn(&(usize, usize)) -> usize| tally(pairs.iter().map(of));
    let (firsts, seconds, both) = (counts(&|pair| pair.0), counts(&|pair| pair.1), tally(pairs.iter().copied()));
    let all = pairs.len() as f64;
    let mut sum = 0.0;
    for (&first, &of_first) in &firsts {
        for (&second, &of_second) in &seconds {
            let expected = of_first * of_second / all;
            sum += (both.get(&(first, second)).copied().unwrap_or_default() - expected).powi(2) / expected;
        }
    }
    assert!(firsts.len() <= parts && seconds.len() <= parts, "a part beyond the last");
    deviations(sum, (firsts.len() - 1) * (seconds.len() - 1))
}

fn tally<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, f64> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1.0);
    counts
}

/// A chi-squared sum as deviations of the normal distribution (Wilson and Hilferty).
fn deviations(sum: f64, freedom: usize) -> f64 {
    let part = 2.0 / (9.0 * freedom as f64);
    ((sum / freedom as f64).cbrt() - (1.0 - part)) / part.sqrt()
}

#[test]
fn what_is_not_chance_is_seen() {
    let up: Vec<u16> = (0..2_000).collect();
    assert!(evenness(&up, 65_536) > 50.0 && correlation_with_the_next(&up) > 0.9);
    // Ports that belong to workers.
    let own: Vec<(usize, usize)> = (0..2_000_usize).map(|n| (n % 8, n % 2 * 4 + n * 7 % 4)).collect();
    assert!(dependence(&own, 8) > 5.0);
    let even: Vec<(usize, usize)> = (0..6_400_usize).map(|n| (n % 8, n / 8 % 8)).collect();
    assert!(dependence(&even, 8) < 0.0 && distinct(&[1, 2, 1]) == 2);
}

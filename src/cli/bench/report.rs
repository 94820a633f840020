//! What was measured, as a table and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::load::Outcome;
use super::server::Batches;
use crate::cli::out;

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    tenants: usize,
    seconds: f64,
    /// Requests that succeeded.
    requests: usize,
    requests_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Answers that were no success, by status; 0 is no answer at all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<u16, usize>,
    /// Mean commands, tenants and rows of a batch, and the milliseconds that a worker computed, where the server is in this
    /// process.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<[f64; 4]>,
}

impl Report {
    pub(super) fn new(tenants: usize, seconds: f64, outcomes: Vec<Outcome>, batches: Batches) -> Self {
        let mut took = Vec::new();
        let mut errors = BTreeMap::new();
        for Outcome { took: one, status } in outcomes {
            if status == 200 {
                took.push(one.as_secs_f64() * 1e3);
            } else {
                *errors.entry(status).or_default() += 1;
            }
        }
        took.sort_by(f64::total_cmp);
        Self {
            tenants,
            seconds,
            requests: took.len(),
            requests_per_second: took.len() as f64 / seconds,
            p50_ms: quantile(&took, 50),
            p95_ms: quantile(&took, 95),
            p99_ms: quantile(&took, 99),
            max_ms: took.last().copied().unwrap_or(f64::NAN),
            errors,
            batch: batches.means(),
        }
    }

    /// Tenants, requests a second, median and 99th percentile in milliseconds.
    pub(super) fn point(&self) -> [f64; 4] {
        [self.tenants as f64, self.requests_per_second, self.p50_ms, self.p99_ms]
    }
}

/// The value that `percent` of them do not exceed.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// A table for people.
pub(super) fn print(reports: &[Report]) {
    out::line(format!(
        "{:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}  batch: commands tenants rows  ms",
        "tenants", "requests", "per s", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"
    ));
    for report in reports {
        let batch = report.batch.map_or_else(String::new, |[commands, tenants, rows, ms]| {
            format!("{commands:>15.1} {tenants:>7.1} {rows:>4.0} {ms:>3.1}")
        });
        out::line(format!(
            "{:>8} {:>9} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>7}  {batch}",
            report.tenants,
            report.requests,
            report.requests_per_second,
            report.p50_ms,
            report.p95_ms,
            report.p99_ms,
            report.max_ms,
            report.errors.values().sum::<usize>()
        ));
    }
    for (status, count) in reports.iter().flat_map(|report| &report.errors) {
        out::note(format!("{count} answers of status {status}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let took: Vec<f64> = (1..=200).map(f64::from).collect();

        assert_eq!([50, 95, 99].map(|percent| quantile(&took, percent)), [100.0, 190.0, 198.0]);
        assert_eq!(quantile(&[7.0], 99), 7.0);
        assert!(quantile(&[], 50).is_nan());
    }
}

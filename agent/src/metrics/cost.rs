//! What metrics of CloudWatch cost.
//!
//! Promises: the list price of us-east-1, as AWS's pricing page had it in 2026: 0.30 dollars a month for each of the first 10,000 metrics,
//! 0.10 for the next 240,000, 0.05 for the next 750,000, 0.02 beyond.
//! Never: counts requests or alarms.

/// Metrics of a step, and dollars a month for each.
const STEPS: [(usize, f64); 4] = [(10_000, 0.30), (240_000, 0.10), (750_000, 0.05), (usize::MAX, 0.02)];

/// Dollars a month for so many metrics.
pub fn dollars_per_month(metrics: usize) -> f64 {
    let (mut left, mut dollars) = (metrics, 0.0);
    for (step, price) in STEPS {
        let of_step = left.min(step);
        dollars += of_step as f64 * price;
        left -= of_step;
    }
    dollars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_price() {
        for (metrics, expected) in
            [(0, 0.0), (1, 0.3), (10_000, 3_000.0), (10_001, 3_000.1), (250_000, 27_000.0), (1_000_001, 64_500.02)]
        {
            assert!((dollars_per_month(metrics) - expected).abs() < 1e-6, "{metrics}");
        }
    }
}

//! The agent's `/metrics`, read back: samples by name and labels, and the books.
//!
//! Promises: a page that is not Prometheus' text format, or books that do not balance, fail the test that asked.
//! Never: rounds: the books are whole numbers.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

/// What the names of the books begin with.
const BOOKS: &str = "pillion_deliver_";

/// One line of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Sample>);

/// The account of one output and container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Handed to the output.
    pub accepted: u64,
    /// Taken by the service.
    pub delivered: u64,
    /// Not taken for good, by reason; reasons at zero are left out.
    pub refused: BTreeMap<String, u64>,
    /// Lost, by reason; reasons at zero are left out.
    pub lost: BTreeMap<String, u64>,
    /// On disk.
    pub spooled: u64,
    /// In memory.
    pub in_flight: u64,
}

impl Account {
    /// What is accounted for besides what was accepted; the two must be equal.
    pub fn accounted(&self) -> u64 {
        let settled = self.delivered + self.refused.values().sum::<u64>() + self.lost.values().sum::<u64>();
        settled + self.spooled + self.in_flight
    }

    /// True if every accepted record is accounted for.
    pub fn balanced(&self) -> bool {
        self.accepted == self.accounted()
    }
}

/// All accounts, by output and container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books(pub BTreeMap<(String, String), Account>);

impl Books {
    /// The sum of all accounts.
    pub fn total(&self) -> Account {
        let mut total = Account::default();
        for account in self.0.values() {
            total.accepted += account.accepted;
            total.delivered += account.delivered;
            total.spooled += account.spooled;
            total.in_flight += account.in_flight;
            for (sum, part) in [(&mut total.refused, &account.refused), (&mut total.lost, &account.lost)] {
                for (reason, count) in part {
                    *sum.entry(reason.clone()).or_default() += count;
                }
            }
        }
        total
    }

    /// Panics if any account does not balance.
    #[track_caller]
    pub fn assert_balanced(&self) {
        for ((output, container), account) in &self.0 {
            assert!(account.balanced(), "the books of {output} for {container} do not balance: {account:#?}");
        }
    }
}

impl Metrics {
    /// Reads a page in text format 0.0.4.
    pub fn parse(page: &str) -> anyhow::Result<Self> {
        let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("cannot read `{line}`")));
        Ok(Self(samples.collect::<anyhow::Result<_>>()?))
    }

    /// The sum of all samples of `name` that bear all of `labels`; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// All samples, in the page's order.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// The books. They stand on the page as `pillion_deliver_{accepted,delivered,refused,lost}_records_total` and
    /// `pillion_deliver_{spooled,in_flight}_records`, with the labels `output` and `container`, and `reason` where
    /// there is one.
    pub fn books(&self) -> Books {
        let mut books = Books::default();
        for sample in &self.0 {
            let Some(what) = sample.name.strip_prefix(BOOKS) else { continue };
            let what = what.strip_suffix("_total").unwrap_or(what);
            let Some(what) = what.strip_suffix("_records") else { continue };
            if !["accepted", "delivered", "spooled", "in_flight", "refused", "lost"].contains(&what) {
                continue;
            }
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            let account = books.0.entry((label("output"), label("container"))).or_default();
            let value = sample.value as u64;
            match what {
                "accepted" => account.accepted = value,
                "delivered" => account.delivered = value,
                "spooled" => account.spooled = value,
                "in_flight" => account.in_flight = value,
                _ if value == 0 => {}
                "refused" => *account.refused.entry(label("reason")).or_default() += value,
                _ => *account.lost.entry(label("reason")).or_default() += value,
            }
        }
        books
    }
}

fn sample(line: &str) -> anyhow::Result<Sample> {
    let (series, value) = line.rsplit_once(' ').context("there is no value")?;
    let value = value.parse().context("the value is no number")?;
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').context("the labels do not end")?)?),
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    if name.is_empty() || !name.chars().all(legal) {
        bail!("`{name}` is no name");
    }
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn labels(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").context("a label without a value")?;
        let (mut value, mut letters) = (String::new(), after.char_indices());
        let end = loop {
            match letters.next().context("a label's value does not end")? {
                (at, '"') => break at,
                (_, '\\') => match letters.next().context("an escape does not end")?.1 {
                    'n' => value.push('\n'),
                    letter => value.push(letter),
                },
                (_, letter) => value.push(letter),
            }
        };
        found.insert(key.to_owned(), value);
        rest = after[end + 1..].trim_start_matches(',');
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_read_and_must_balance() {
        let page = "# HELP x y\n# TYPE pillion_deliver_accepted_records_total counter\n\
            pillion_deliver_accepted_records_total{container=\"a\\\"b\",output=\"cloudwatch.0\"} 10\n\
            pillion_deliver_delivered_records_total{container=\"a\\\"b\",output=\"cloudwatch.0\"} 6\n\
            pillion_deliver_refused_records_total{container=\"a\\\"b\",output=\"cloudwatch.0\",reason=\"too_old\"} 1\n\
            pillion_deliver_lost_records_total{container=\"a\\\"b\",output=\"cloudwatch.0\",reason=\"stopped\"} 2\n\
            pillion_deliver_in_flight_records{container=\"a\\\"b\",output=\"cloudwatch.0\"} 1\n\
            pillion_life_panics_total 0\n";
        let metrics = Metrics::parse(page).unwrap();
        let mut books = metrics.books();
        books.assert_balanced();
        let key = ("cloudwatch.0".to_owned(), "a\"b".to_owned());
        assert_eq!(books.0[&key].lost["stopped"], 2);
        assert_eq!(books.total(), books.0[&key]);
        assert!((metrics.sum("pillion_deliver_lost_records_total", &[("reason", "stopped")]) - 2.0).abs() < 0.1);
        books.0.get_mut(&key).unwrap().delivered = 5;
        assert!(!books.0[&key].balanced());
    }

    #[test]
    fn a_page_that_is_none_is_refused() {
        for page in ["x", "x y", "x{a=\"b\" 1", "x{a} 1", "{} 1", "<html> 1"] {
            assert!(Metrics::parse(page).is_err(), "{page}");
        }
    }
}

//! What looking costs, before anybody looks: calls, money, and the share of an account's quotas.
//!
//! Promises: arithmetic on the settings and nothing else; each number says where it is from. Prices and quotas are those of most
//! regions in 2026, and an account's own may be other ones.
//! Never: asks AWS, or knows how many tasks there are.

use std::fmt::Write;

use super::{
    settings::{From, Secrets},
    source::requests,
    watch::rhythm::NEAR,
};
use crate::problem::Problem;

/// Seconds of a month of 30 days.
const MONTH: f64 = 2_592_000.0;
/// Secrets Manager's price, <https://aws.amazon.com/secrets-manager/pricing/>: $0.05 for 10,000 calls, whichever they are.
const CALL_DOLLARS: f64 = 0.05 / 10_000.0;
/// SQS' price for standard queues, <https://aws.amazon.com/sqs/pricing/>: $0.40 for a million requests.
const RECEIVE_DOLLARS: f64 = 0.40 / 1_000_000.0;
/// A receive of hints waits so many seconds for a message, the most that SQS allows.
const RECEIVE_SECONDS: f64 = 20.0;
/// Requests a second for each account and region. Secrets Manager: "Quotas" in its user's guide, raised in March 2025.
const DESCRIBE_QUOTA: f64 = 40_000.0;
const GET_QUOTA: f64 = 10_000.0;
/// The Parameter Store: "Systems Manager endpoints and quotas", the default throughput, which `GetParameter`, `GetParameters` and
/// `GetParametersByPath` share.
const PARAMETER_QUOTA: f64 = 40.0;
/// Numbers of tasks for which it is shown.
const TASKS: [u32; 4] = [1, 100, 1_000, 10_000];
/// Who has so many tasks is warned of a quota that fewer use up.
const TASKS_WARNED: f64 = 1_000.0;

/// What one task does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Looks at secrets a second, far from a rotation.
    describes: f64,
    /// Secrets that are looked at.
    secrets: u32,
    /// Requests for parameters a second; more if more than ten are below a path.
    parameters: f64,
    /// Receives of hints a second.
    receives: f64,
    /// Calls a second for one secret that apps ask the local API for. Infinite if every request is a call.
    api: Option<f64>,
    has_paths: bool,
}

impl Cost {
    /// What `secrets` make one task do.
    pub fn of(secrets: &Secrets) -> Self {
        let mut cost = Self::default();
        let mut names = Vec::new();
        for item in &secrets.items {
            let a_second = 1.0 / item.from.every().as_secs_f64();
            match &item.from {
                // A fixed version never changes, and is not looked at.
                From::SecretsManager(secret) if secret.version.is_none() => {
                    cost.describes += a_second;
                    cost.secrets += 1;
                }
                From::Parameter(parameter) => names.push(parameter),
                From::Parameters(_) => {
                    cost.parameters += a_second;
                    cost.has_paths = true;
                }
                From::SecretsManager(_) | From::File(_) => {}
            }
        }
        cost.parameters += f64::from(requests(&names)) / super::defaults::EVERY_PARAMETER.as_secs_f64();
        cost.receives = if secrets.hints.is_some() { 1.0 / RECEIVE_SECONDS } else { 0.0 };
        cost.api = secrets.api.as_ref().map(|api| 1.0 / api.cache().0.as_secs_f64());
        cost
    }

    /// A table for a person, with what it leaves out; nothing if nobody is asked.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if self.describes + self.parameters + self.receives > 0.0 {
            let header = ["tasks", "calls a month", "$ a month", "of 40,000/s", "parameters/s", "of 40/s"];
            row(&mut text, header.map(str::to_owned));
            for tasks in TASKS {
                let count = f64::from(tasks);
                let calls = (self.describes + self.parameters + self.receives) * count * MONTH;
                let asked = self.parameters * count;
                row(
                    &mut text,
                    [
                        grouped(f64::from(tasks)),
                        grouped(calls),
                        format!("{:.2}", self.dollars() * count),
                        percent(self.describes * count / DESCRIBE_QUOTA),
                        format!("{asked:.2}"),
                        percent(asked / PARAMETER_QUOTA),
                    ],
                );
            }
        }
        for note in self.notes() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:16}{note}", "");
        }
        text
    }

    /// What would use up a quota that an account has for all.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let full = (PARAMETER_QUOTA / self.parameters).floor();
        if full < TASKS_WARNED {
            let what = format!("{full:.0} tasks use up the 40 requests a second that an account has for parameters");
            let hint = "name one path in place of many parameters, raise the quota, or use a secret of Secrets Manager";
            warnings.push(Problem::warning("secrets.items", what, hint));
        }
        let full = (GET_QUOTA * NEAR.as_secs_f64() / f64::from(self.secrets)).floor();
        if full < TASKS_WARNED {
            let what = format!("{full:.0} tasks that see a rotation of all secrets use up the 10,000 fetches a second");
            warnings.push(Problem::warning("secrets.items", what, "put what belongs together into one secret"));
        }
        if self.api.is_some_and(f64::is_infinite) {
            let what = "is 0: each request to the local API is a call to AWS";
            warnings.push(Problem::warning("secrets.api.ttl", what, "set it to 5s or more, and ask with `refreshNow`"));
        }
        warnings
    }

    /// Dollars a month for one task.
    fn dollars(&self) -> f64 {
        // The default throughput of the Parameter Store costs nothing.
        (self.describes * CALL_DOLLARS + self.receives * RECEIVE_DOLLARS) * MONTH
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.secrets > 0 {
            let near = f64::from(self.secrets) / NEAR.as_secs_f64();
            notes.push(format!(
                "around a rotation: {:.2} calls/s for each task ({} of 40,000/s for 10,000 tasks), and one fetch of each",
                near,
                percent(near * 10_000.0 / DESCRIBE_QUOTA)
            ));
            notes.push(
                "version for each task; with a key of your own each fetch is a Decrypt, $0.03 for 10,000".to_owned(),
            );
        }
        if self.parameters > 0.0 {
            let full = grouped((PARAMETER_QUOTA / self.parameters).floor());
            notes.push(format!(
                "{full} tasks use up the account's default of 40 requests a second for parameters, of which"
            ));
            notes.push(
                "others have need, too; each SecureString in a request is a Decrypt, $0.03 for 10,000".to_owned(),
            );
        }
        if self.has_paths {
            notes.push("a path with more than ten parameters takes another request for each ten".to_owned());
        }
        if let Some(api) = self.api.filter(|api| api.is_finite()) {
            let (calls, dollars) = (grouped(api * MONTH), api * MONTH * CALL_DOLLARS);
            notes.push(format!(
                "local API: at most {calls} calls (${dollars:.2}) a month for each secret that a task asks for"
            ));
        }
        notes
    }
}

/// One line, columns to the right.
fn row(text: &mut String, [first, rest @ ..]: [String; 6]) {
    let _ = write!(text, "{first:>16}");
    rest.iter().for_each(|column| {
        let _ = write!(text, "{column:>15}");
    });
    text.push('\n');
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A whole number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        secrets::settings::{Api, Hints, Item, Parameter, Parameters, SecretsManager, WhenGone},
        units::Span,
    };

    fn item(from: From) -> Item {
        Item {
            name: "x".to_owned(),
            from,
            required: true,
            when_gone: WhenGone::Keep,
            mask: crate::secrets::settings::Mask::Auto,
            files: Vec::new(),
        }
    }

    fn secret(id: usize) -> Item {
        item(From::SecretsManager(SecretsManager { id: id.to_string(), ..SecretsManager::default() }))
    }

    fn parameter(name: String) -> Item {
        item(From::Parameter(Parameter { name, ..Parameter::default() }))
    }

    fn of(items: Vec<Item>) -> Cost {
        Cost::of(&Secrets { items, ..Secrets::default() })
    }

    /// The same numbers by hand: 3 secrets every 900 s are 8,640 calls a month, 12 parameters are 2 requests every 300 s.
    #[test]
    fn calls_money_and_shares_are_those_of_the_rhythm() {
        let mut items: Vec<Item> = (0..3).map(secret).collect();
        let fixed = SecretsManager { version: Some("v".to_owned()), ..SecretsManager::default() };
        items.extend([
            item(From::SecretsManager(fixed)),
            item(From::File("f".into())),
            parameter("/fixed:3".to_owned()),
        ]);
        items.extend((0..12).map(|at| parameter(format!("/p{at}"))));
        items.push(item(From::Parameters(Parameters { path: "/x".to_owned(), ..Parameters::default() })));
        let hints = Some(Hints { sqs: "https://sqs.eu-west-1.amazonaws.com/1/q".to_owned(), ..Hints::default() });
        let cost = Cost::of(&Secrets { items, hints, api: Some(Api::default()), ..Secrets::default() });
        insta::assert_snapshot!(cost.table(), @r"
                   tasks  calls a month      $ a month    of 40,000/s   parameters/s        of 40/s
                       1        164,160           0.10         0.00 %           0.01         0.03 %
                     100     16,416,000           9.50         0.00 %           1.00         2.50 %
                   1,000    164,160,000          95.04         0.01 %          10.00        25.00 %
                  10,000  1,641,600,000         950.40         0.08 %         100.00       250.00 %
                        around a rotation: 0.20 calls/s for each task (5.00 % of 40,000/s for 10,000 tasks), and one fetch of each
                        version for each task; with a key of your own each fetch is a Decrypt, $0.03 for 10,000
                        4,000 tasks use up the account's default of 40 requests a second for parameters, of which
                        others have need, too; each SecureString in a request is a Decrypt, $0.03 for 10,000
                        a path with more than ten parameters takes another request for each ten
                        local API: at most 8,640 calls ($0.04) a month for each secret that a task asks for
        ");
        assert_eq!(cost.warnings(), []);
        assert_eq!((of(Vec::new()).table(), of(Vec::new()).warnings()), (String::new(), Vec::new()));
    }

    #[test]
    fn what_uses_up_a_quota_with_less_than_a_thousand_tasks_is_a_warning() {
        let many = |count: usize| (0..count).map(|at| parameter(format!("/p{at}"))).collect::<Vec<_>>();
        assert_eq!(of(many(120)).warnings(), [], "12 requests in 300 s: 1,000 tasks are just right");
        let warned = of(many(121)).warnings();
        assert_eq!(warned.len(), 1);
        assert!(warned[0].what.starts_with("923 tasks use up the 40 requests"), "{}", warned[0]);
        let warned = of((0..151).map(secret).collect()).warnings();
        assert!(warned[0].what.starts_with("993 tasks that see a rotation"), "{}", warned[0]);
        let api = Some(Api { ttl: Some(Span(Duration::ZERO)), ..Api::default() });
        let warned = Cost::of(&Secrets { api, ..Secrets::default() }).warnings();
        assert_eq!((warned.len(), warned[0].place.as_str()), (1, "secrets.api.ttl"));
    }
}

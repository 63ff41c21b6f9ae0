//! When a container of a task may be started, and when it may be stopped.
//!
//! Promises: the rules of the ECS agent (`agent/engine/dependencygraph`): START, COMPLETE, SUCCESS, HEALTHY; a container is stopped
//! only after all that depend on it; who logs by awsfirelens depends on the router (START), unless the router depends on something.
//! Never: does I/O.

use std::collections::BTreeMap;

use pillion::taskdef::view::Task;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was started.
    Start,
    /// It has ended.
    Complete,
    /// It has ended with 0.
    Success,
    /// Its health check says so.
    Healthy,
}

/// How it stands with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not started yet.
    Pending,
    /// It runs.
    Running {
        /// What its health check says; none if it has none, or has not said anything yet.
        healthy: Option<bool>,
    },
    /// It has ended.
    Ended {
        /// With this code.
        code: i64,
    },
}

/// Who waits for whom: container, other, condition.
#[derive(Clone, Debug, Default)]
pub struct Order {
    waits: Vec<(String, String, Condition)>,
}

impl Order {
    /// That of a task definition.
    pub fn of(task: Task<'_>) -> Self {
        let mut waits = Vec::new();
        let containers = task.containers();
        for container in &containers {
            let Some(name) = container.name() else { continue };
            for (other, condition) in container.depends_on() {
                let condition = match condition.as_deref() {
                    Some("COMPLETE") => Condition::Complete,
                    Some("SUCCESS") => Condition::Success,
                    Some("HEALTHY") => Condition::Healthy,
                    Some(_) | None => Condition::Start,
                };
                waits.push((name.clone(), other, condition));
            }
        }
        let router = containers.iter().find(|it| it.is_router() && it.depends_on().next().is_none());
        if let Some(router) = router.and_then(|it| it.name()) {
            let senders = containers.iter().filter(|it| it.log_driver().as_deref() == Some("awsfirelens"));
            for sender in senders.filter_map(|it| it.name()) {
                if !waits.iter().any(|(name, other, _)| *name == sender && *other == router) {
                    waits.push((sender, router.clone(), Condition::Start));
                }
            }
        }
        Self { waits }
    }

    /// True if all that it waits for has come about.
    pub fn may_start(&self, name: &str, states: &BTreeMap<String, State>) -> bool {
        self.waits.iter().filter(|(waiting, ..)| waiting == name).all(|(_, other, condition)| {
            match (condition, states.get(other)) {
                (Condition::Start, Some(State::Running { .. } | State::Ended { .. })) => true,
                (Condition::Complete, Some(State::Ended { .. })) => true,
                (Condition::Success, Some(State::Ended { code })) => *code == 0,
                (Condition::Healthy, Some(State::Running { healthy })) => *healthy == Some(true),
                _ => false,
            }
        })
    }

    /// Why it can never be started any more, if that is so.
    pub fn is_hopeless(&self, name: &str, states: &BTreeMap<String, State>) -> Option<String> {
        self.waits.iter().filter(|(waiting, ..)| waiting == name).find_map(|(_, other, condition)| {
            match (condition, states.get(other)?) {
                (Condition::Success, State::Ended { code }) if *code != 0 => {
                    Some(format!("{name}: dependency {other} ended with {code} instead of SUCCESS"))
                }
                (Condition::Healthy, State::Ended { code }) => {
                    Some(format!("{name}: dependency {other} ended with {code} before it was HEALTHY"))
                }
                _ => None,
            }
        })
    }

    /// True if nobody runs any more who depends on it.
    pub fn may_stop(&self, name: &str, states: &BTreeMap<String, State>) -> bool {
        let runs = |waiting: &String| matches!(states.get(waiting), Some(State::Running { .. }));
        !self.waits.iter().any(|(waiting, other, _)| other == name && runs(waiting))
    }
}

#[cfg(test)]
mod tests {
    use pillion::taskdef::read;

    use super::*;

    fn order(text: &str) -> Order {
        let (document, places) = read(text.as_bytes()).expect("a task definition");
        Order::of(places[0].task(&document.root).expect("a task"))
    }

    const TASK: &str = r#"{"containerDefinitions": [
        {"name": "app", "image": "a", "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}, {"containerName": "db", "condition": "HEALTHY"}],
         "logConfiguration": {"logDriver": "awsfirelens"}},
        {"name": "init", "image": "a", "dependsOn": [{"containerName": "db", "condition": "START"}]},
        {"name": "db", "image": "a"},
        {"name": "router", "image": "a", "firelensConfiguration": {"type": "fluentbit"}}
    ]}"#;

    fn states(list: &[(&str, State)]) -> BTreeMap<String, State> {
        list.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
    }

    const RUNS: State = State::Running { healthy: None };
    const WELL: State = State::Running { healthy: Some(true) };

    #[test]
    fn a_container_starts_when_all_that_it_waits_for_is_so() {
        let order = order(TASK);
        let ended = |code| State::Ended { code };
        for (list, may) in [
            (vec![("init", ended(0)), ("db", WELL), ("router", RUNS)], true),
            (vec![("init", ended(1)), ("db", WELL), ("router", RUNS)], false),
            (vec![("init", RUNS), ("db", WELL), ("router", RUNS)], false),
            (vec![("init", ended(0)), ("db", RUNS), ("router", RUNS)], false),
            (vec![("init", ended(0)), ("db", State::Running { healthy: Some(false) }), ("router", RUNS)], false),
            // FireLens' own dependency, which nobody wrote.
            (vec![("init", ended(0)), ("db", WELL), ("router", State::Pending)], false),
        ] {
            assert_eq!(order.may_start("app", &states(&list)), may, "{list:?}");
        }
        assert!(order.is_hopeless("app", &states(&[("init", ended(1))])).is_some());
        assert!(order.is_hopeless("app", &states(&[("db", ended(0))])).is_some());
        assert!(order.is_hopeless("app", &states(&[("init", RUNS), ("db", RUNS)])).is_none());
    }

    #[test]
    fn a_container_stops_after_all_that_depend_on_it() {
        let order = order(TASK);
        let all = states(&[("app", RUNS), ("init", State::Ended { code: 0 }), ("db", RUNS), ("router", RUNS)]);
        assert!(order.may_stop("app", &all) && !order.may_stop("db", &all) && !order.may_stop("router", &all));
        let without = states(&[("app", State::Ended { code: 0 }), ("db", RUNS), ("router", RUNS)]);
        assert!(order.may_stop("db", &without) && order.may_stop("router", &without));
    }

    #[test]
    fn a_router_that_depends_on_something_gets_nobody_that_waits_for_it() {
        let text = TASK.replace(
            "\"name\": \"router\",",
            "\"name\": \"router\", \"dependsOn\": [{\"containerName\": \"db\", \"condition\": \"START\"}],",
        );
        let order = order(&text);
        let well = states(&[("init", State::Ended { code: 0 }), ("db", WELL), ("router", State::Pending)]);
        assert!(order.may_start("app", &well));
    }
}

//! Which versions of secrets are looked for: those that are held, and those that were.
//!
//! Nobody knows when the last program has let go of an old password, or when it prints the error that has it in it. So a version
//! is looked for long after it was replaced: the last two of each secret for as long as the agent runs, others for a day.
//!
//! Promises: what was once held is looked for at least for [`MASK_OLD_FOR`], unless there is more than [`MASK_OLD_MAX`].
//! Never: looks at a clock, or forgets what is held.

use std::{cmp::Reverse, collections::HashMap, fmt, sync::Arc, time::Instant};

use super::Mask;
use crate::limits::{MASK_OLD_FOR, MASK_OLD_MAX};

/// Versions of each secret that are looked for, however old they are, beside those that are held.
const OLD_ALWAYS: usize = 2;

/// A version of a secret, or a file that shows one.
#[derive(Clone)]
pub struct Secret {
    /// The name by which it is counted.
    pub name: Arc<str>,
    /// What the value is called where it stands, from which the rules guess what it is.
    pub called: String,
    /// Which of its versions: the same name and version is the same value.
    pub version: String,
    /// What it says, shared with who holds it.
    pub value: Arc<super::Plain>,
    /// What the user wants.
    pub mask: Mask,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} {})", self.name, self.version)
    }
}

impl Secret {
    fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.version == other.version
    }

    /// True if the same is looked for because of either.
    fn says_the_same(&self, other: &Self) -> bool {
        self.called == other.called && self.mask == other.mask && self.value == other.value
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Keeper {
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    secret: Secret,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Files show it.
    Held,
    /// Files showed it until then.
    Replaced(Instant),
    /// Somebody got it then, and nobody says when he is done with it.
    Given(Instant),
}

impl Keeper {
    /// These are held now, and no others any more. True if what is looked for is not the same as before.
    pub fn hold(&mut self, held: Vec<Secret>, now: Instant) -> bool {
        for kept in &mut self.kept {
            let is_held = held.iter().any(|secret| secret.is(&kept.secret));
            kept.standing = match kept.standing {
                _ if is_held => Standing::Held,
                Standing::Held => Standing::Replaced(now),
                before => before,
            };
        }
        self.add(held, Standing::Held, now)
    }

    /// These are in use too. True if what is looked for is not the same as before.
    pub fn also(&mut self, more: Vec<Secret>, now: Instant) -> bool {
        self.add(more, Standing::Given(now), now)
    }

    /// Everything that is looked for: what is held first, then what was replaced or given last.
    pub fn all(&self) -> Vec<Secret> {
        let mut all: Vec<&Kept> = self.kept.iter().collect();
        all.sort_by_key(|kept| kept.since().map(Reverse));
        all.into_iter().map(|kept| kept.secret.clone()).collect()
    }

    fn add(&mut self, secrets: Vec<Secret>, standing: Standing, now: Instant) -> bool {
        let mut is_new = false;
        for mut secret in secrets {
            if secret.mask == Mask::Never || self.kept.iter().any(|kept| kept.secret.is(&secret)) {
                continue;
            }
            // What files show is looked for first, whoever else has it.
            let held = self.kept.iter().filter(|kept| kept.standing == Standing::Held);
            match held.map(|kept| &kept.secret).find(|held| held.says_the_same(&secret)) {
                Some(held) if standing != Standing::Held => secret.value = Arc::clone(&held.value),
                _ => is_new = true,
            }
            self.kept.push(Kept { secret, standing });
        }
        self.forget(now) || is_new
    }

    /// Lets go what nobody can have any more. True if there is such.
    fn forget(&mut self, now: Instant) -> bool {
        let old = self.kept.iter().enumerate().filter_map(|(place, kept)| Some((place, kept.since()?)));
        let mut old: Vec<(usize, Instant)> = old.collect();
        old.sort_unstable_by_key(|&(place, since)| (Reverse(since), place));
        let mut gone = vec![false; self.kept.len()];
        let mut newer: HashMap<&str, usize> = HashMap::new();
        for (rank, &(place, since)) in old.iter().enumerate() {
            let kept = &self.kept[place];
            let of_same = newer.entry(&kept.secret.name).or_default();
            let is_replaced = matches!(kept.standing, Standing::Replaced(_));
            let is_due = is_replaced && *of_same >= OLD_ALWAYS && now.saturating_duration_since(since) > MASK_OLD_FOR;
            gone[place] = is_due || rank >= MASK_OLD_MAX;
            *of_same += 1;
        }
        let mut going = gone.iter();
        self.kept.retain(|_| !going.next().is_some_and(|&gone| gone));
        gone.contains(&true)
    }
}

impl Kept {
    /// Since when it is not held.
    fn since(&self) -> Option<Instant> {
        match self.standing {
            Standing::Held => None,
            Standing::Replaced(since) | Standing::Given(since) => Some(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secret(name: &str, version: &str) -> Secret {
        let value = Arc::new(super::super::Plain::new(version.as_bytes().to_vec()));
        Secret { name: name.into(), called: String::new(), version: version.to_owned(), value, mask: Mask::Auto }
    }

    fn versions(keeper: &Keeper) -> Vec<String> {
        keeper.all().into_iter().map(|secret| secret.version).collect()
    }

    #[test]
    fn what_is_replaced_is_looked_for_until_nobody_can_have_it_any_more() {
        let mut keeper = Keeper::default();
        let start = Instant::now();
        let at = |hours: u64| start + Duration::from_secs(3_600 * hours);
        assert!(keeper.hold(vec![secret("db", "1")], at(0)));
        assert!(!keeper.hold(vec![secret("db", "1")], at(1)), "nothing is new");
        for version in 2..6 {
            assert!(keeper.hold(vec![secret("db", &version.to_string())], at(version)));
        }
        assert_eq!(versions(&keeper), ["5", "4", "3", "2", "1"]);
        assert!(!keeper.hold(vec![secret("db", "5")], at(25)));
        assert!(keeper.hold(vec![secret("db", "5")], at(27)), "one is a day old");
        assert_eq!(versions(&keeper), ["5", "4", "3", "2"]);
        assert!(keeper.hold(vec![secret("db", "5")], at(1_000)));
        assert_eq!(versions(&keeper), ["5", "4", "3"], "the last two stay for ever");
        assert!(!keeper.hold(vec![secret("db", "3")], at(1_001)), "one comes back");
        assert_eq!(versions(&keeper), ["3", "5", "4"]);
    }

    #[test]
    fn what_was_given_away_is_looked_for_as_long_as_there_is_room() {
        let mut keeper = Keeper::default();
        let now = Instant::now();
        keeper.hold(vec![secret("db", "1")], now);
        assert!(keeper.also(vec![secret("api", "7")], now));
        let later = now + 100 * MASK_OLD_FOR;
        keeper.hold(vec![], later);
        assert_eq!(versions(&keeper), ["1", "7"]);
        assert!(!keeper.also(vec![secret("api", "7")], later), "it is known");
        assert!(!keeper.also(vec![Secret { mask: Mask::Never, ..secret("x", "1") }], later), "it is not wanted");
    }

    /// An app that reads by the API what files show: nothing is built anew, and it is looked for when the files show another.
    #[test]
    fn what_is_held_and_given_away_is_looked_for_once_and_until_both_are_over() {
        let mut keeper = Keeper::default();
        let now = Instant::now();
        assert!(keeper.hold(vec![secret("db", "1")], now));
        let read = |version: &str| Secret { version: format!("orders/db {version}"), ..secret("api", version) };
        assert!(!keeper.also(vec![read("1")], now), "it is looked for");
        assert!(keeper.also(vec![read("2")], now), "it is not");
        let by_another_name = Secret { called: "host".to_owned(), version: "host".to_owned(), ..read("1") };
        assert!(keeper.also(vec![by_another_name], now), "nor by this name");
        let always = Secret { mask: Mask::Always, version: "always".to_owned(), ..read("1") };
        assert!(keeper.also(vec![always], now), "nor always");
        for version in 2..5 {
            keeper.hold(vec![secret("db", &version.to_string())], now + version * MASK_OLD_FOR);
        }
        let all = versions(&keeper);
        assert!(!all.contains(&"1".to_owned()) && all.contains(&"orders/db 1".to_owned()), "{all:?}");
    }

    #[test]
    fn a_secret_that_rotates_all_the_time_takes_no_more_room() {
        let mut keeper = Keeper::default();
        let now = Instant::now();
        for version in 0..2 * MASK_OLD_MAX {
            keeper.hold(vec![secret("db", &version.to_string())], now + Duration::from_millis(version as u64));
        }
        assert_eq!(keeper.kept.len(), MASK_OLD_MAX + 1);
        assert_eq!(versions(&keeper)[..2], [(2 * MASK_OLD_MAX - 1).to_string(), (2 * MASK_OLD_MAX - 2).to_string()]);
    }
}

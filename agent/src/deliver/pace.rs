//! How fast an output sends: how many requests at a time, how long records wait for company, how long to leave a service
//! alone that is down, and how many retries it may cost.
//!
//! What one agent does, a fleet of a hundred thousand does at the same time, to one quota. So everything here is drawn or
//! spread, and a service that has come back is met gently:
//!
//! - *Down:* full jitter up to a minute, or up to a quarter of the time that the service is down already; one probe at a time;
//!   a rest behind the first success, as random.
//! - *Throttled:* records wait longer for company, so that the same bytes come in fewer requests; a rest of a random part of
//!   that. The growth has a constant part besides the factor: with a factor alone, who waits long and who waits little
//!   would never meet.
//! - *Slow:* fewer requests at a time when answers take much longer than they did.
//! - *Retries:* at most a tenth of the requests, and one a second.
//!
//! The simulated fleet (docs/fleet.md) shows what each rule is worth.
//!
//! Promises: after a failure, one request at a time until one succeeds; never more than a minute between probes unless
//! the service asks for it, or the retries are spent.
//! Never: looks at a clock or a random source of its own; both are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// First backoff, before jitter.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest backoff, before jitter.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A service that was down for a minute is asked again within a quarter of that: one that comes back soon is not left waiting
/// for as long again. Never within less than [`BACKOFF_SHORT`], which is twelve requests a minute.
const BACKOFF_PART: u32 = 4;
const BACKOFF_SHORT: Duration = Duration::from_secs(10);
/// Shortest backoff, after jitter: a refused connection must not become a busy loop.
const BACKOFF_LEAST: Duration = Duration::from_millis(50);
/// The longest that records wait for company while the service throttles.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// What a throttled request adds to the wait for company, besides half of it. A fleet that asks for twenty times its quota
/// settles in a minute; without it, in eight.
const LINGER_STEP: Duration = Duration::from_secs(3);
/// The longest rest behind a throttled request. Longer ones would keep a fleet calmer still, but a task that writes a
/// megabyte a second fills its memory in 25 s.
const REST_MAX: Duration = Duration::from_secs(15);
/// The part of a backoff for which an output rests behind the first success. Less, and a fleet that comes back asks for more
/// than 1.3 of its quota; more, and it leaves a twentieth of it unused.
const RECOVERY_PART: f64 = 0.4;
/// How much the latest answer counts in the usual time that answers take (Vector's adaptive concurrency has the same).
const LATENCY_WEIGHT: f64 = 0.4;
/// So many usual deviations above the usual time is slow.
const LATENCY_DEVIATIONS: f64 = 2.5;
/// Less than this above the usual time, in seconds, is not slow: a larger body explains it.
const LATENCY_SLACK: f64 = 0.05;
/// What a request that is slow leaves of the requests at a time.
const LATENCY_DECREASE: f64 = 0.9;
/// Retries that may be made for each request that succeeds.
const RETRY_PART: f64 = 0.1;
/// Retries that may be made besides, per second.
const RETRIES_PER_SECOND: f64 = 1.0;
/// Retries that may be saved up: as many as may fail together, and a few.
const RETRIES_MAX: f64 = 10.0;

/// The pace of one output.
#[derive(Debug)]
pub struct Pace {
    most: f64,
    allowed: f64,
    failures: u32,
    /// One of these failures was not throttling.
    down: bool,
    /// When the first of these failures was heard of.
    failing_since: Option<Instant>,
    /// When the last failure was heard of.
    failed_at: Option<Instant>,
    closed_until: Option<Instant>,
    linger_least: Duration,
    linger: Duration,
    /// Where between half of the linger and all of it the next batch waits, 0.0..1.0.
    spread: f64,
    latency: Option<Latency>,
    /// When the last slow answer came.
    slowed_at: Option<Instant>,
    retries: Retries,
}

/// How long answers usually take, in seconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    mean: f64,
    deviation: f64,
}

/// The retries that may be made.
#[derive(Clone, Copy, Debug)]
struct Retries {
    left: f64,
    counted_at: Option<Instant>,
}

/// Backoff before attempt `failures + 1`, somewhere between nothing and twice the one before: `random` is in 0.0..1.0.
pub fn backoff(failures: u32, random: f64) -> Duration {
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(BACKOFF_MAX);
    ceiling.mul_f64(random).max(BACKOFF_LEAST)
}

impl Pace {
    /// At most `most` requests at a time; records wait at least `linger` for others.
    pub fn new(most: usize, linger: Duration) -> Self {
        Self {
            most: most as f64,
            allowed: 1.0,
            failures: 0,
            down: false,
            failing_since: None,
            failed_at: None,
            closed_until: None,
            linger_least: linger,
            linger,
            spread: 1.0,
            latency: None,
            slowed_at: None,
            retries: Retries { left: RETRIES_MAX, counted_at: None },
        }
    }

    /// Requests that may be under way at `now`.
    pub fn allowed(&self, now: Instant) -> usize {
        match self.closed_until {
            Some(until) if now < until => 0,
            _ if self.failures > 0 => 1,
            _ => self.allowed as usize,
        }
    }

    /// When the service may be asked again; `None` if it may be asked now.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.closed_until.filter(|&until| now < until)
    }

    /// How long records wait for others: somewhere between half and all of what throttling has made of it. A fleet whose
    /// members all wait as long comes back in waves.
    pub fn linger(&self) -> Duration {
        let more = self.linger.saturating_sub(self.linger_least);
        self.linger_least + more.mul_f64(0.5 + self.spread / 2.0)
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The service took, by `now`, a request that was sent at `sent`.
    pub fn succeeded(&mut self, now: Instant, sent: Instant, random: f64) {
        self.retries.earn();
        if !self.is_news(sent) {
            return;
        }
        // The whole fleet finds out within a minute that the service is back, each member with a second batch in hand.
        self.closed_until = self.down.then(|| now + self.backoff(now, random).mul_f64(RECOVERY_PART));
        self.failures = 0;
        self.failing_since = None;
        self.down = false;
        self.linger = self.linger.mul_f64(0.97).max(self.linger_least);
        self.spread = random;
        self.adapt_to_latency(now, sent);
    }

    /// The service asked us to slow down, in answer to a request that was sent at `sent`.
    pub fn throttled(&mut self, now: Instant, sent: Instant, after: Option<Duration>, random: f64) {
        let mut rest = Duration::ZERO;
        if self.is_news(sent) {
            self.allowed = (self.allowed / 2.0).max(1.0);
            rest = self.linger.min(REST_MAX).mul_f64(random);
            self.linger = (self.linger.mul_f64(1.5) + LINGER_STEP).min(LINGER_MAX);
            self.spread = random;
        }
        self.close(now, sent, after, random, rest);
    }

    /// The service did not answer a request that was sent at `sent`, or said that it cannot.
    pub fn failed(&mut self, now: Instant, sent: Instant, after: Option<Duration>, random: f64) {
        self.allowed = 1.0;
        self.down = true;
        self.close(now, sent, after, random, Duration::ZERO);
    }

    /// Asks again soon: the agent is stopping, and there is little to lose.
    pub fn hasten(&mut self, now: Instant, at_most: Duration) {
        self.closed_until = self.closed_until.map(|until| until.min(now + at_most));
    }

    /// Requests that were under way together share their fate: the first of them that fails says all that there is to
    /// learn, so that eight that fail at once back off as one does, and one that succeeds late does not reopen.
    fn is_news(&self, sent: Instant) -> bool {
        self.failed_at.is_none_or(|failed_at| failed_at < sent)
    }

    /// One request more at a time per round of answers, a tenth less if one was slow. Of the requests that were under way
    /// together, one slow answer counts.
    fn adapt_to_latency(&mut self, now: Instant, sent: Instant) {
        let seconds = now.saturating_duration_since(sent).as_secs_f64();
        let latency = self.latency.get_or_insert(Latency { mean: seconds, deviation: 0.0 });
        if !latency.is_slow(seconds) {
            self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most);
        } else if self.slowed_at.is_none_or(|slowed_at| slowed_at < sent) {
            self.allowed = (self.allowed * LATENCY_DECREASE).max(1.0);
            self.slowed_at = Some(now);
        }
    }

    /// The backoff behind the last failure. It does not grow beyond what the failures have lasted so far.
    fn backoff(&self, now: Instant, random: f64) -> Duration {
        let lasted = self.failing_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let longest = (lasted / BACKOFF_PART).max(BACKOFF_SHORT);
        backoff(self.failures, random).min(longest.mul_f64(random).max(BACKOFF_LEAST))
    }

    fn close(&mut self, now: Instant, sent: Instant, after: Option<Duration>, random: f64, rest: Duration) {
        let asked = after.map_or(Duration::ZERO, |after| after + after.mul_f64(random / 4.0));
        let mut wait = asked.max(self.retries.spend(now));
        if self.is_news(sent) {
            self.failures = self.failures.saturating_add(1);
            self.failing_since.get_or_insert(now);
            self.failed_at = Some(now);
            wait = wait.max(rest).max(self.backoff(now, random));
        }
        let until = now + wait;
        self.closed_until = Some(self.closed_until.map_or(until, |before| before.max(until)));
    }
}

impl Latency {
    /// True if `seconds` is much more than usual. From then on it is a little more usual.
    fn is_slow(&mut self, seconds: f64) -> bool {
        let beyond = seconds - self.mean;
        let slow = beyond > (LATENCY_DEVIATIONS * self.deviation).max(LATENCY_SLACK);
        self.mean += LATENCY_WEIGHT * beyond;
        self.deviation += LATENCY_WEIGHT * (beyond.abs() - self.deviation);
        slow
    }
}

impl Retries {
    fn earn(&mut self) {
        self.left = (self.left + RETRY_PART).min(RETRIES_MAX);
    }

    /// Takes one, since every request that fails is sent again. Returns how long to wait until it is paid for.
    fn spend(&mut self, now: Instant) -> Duration {
        let since = self.counted_at.map_or(0.0, |before| now.saturating_duration_since(before).as_secs_f64());
        self.counted_at = Some(now);
        self.left = (self.left + since * RETRIES_PER_SECOND).min(RETRIES_MAX) - 1.0;
        Duration::from_secs_f64((-self.left).max(0.0) / RETRIES_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(250);
    const LATENCY: Duration = Duration::from_millis(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn later(time: Instant) -> Instant {
        time + Duration::from_millis(1)
    }

    /// So many requests, one after another, are taken; each takes `latency`. Returns when the last one was.
    fn succeed(pace: &mut Pace, mut now: Instant, latency: Duration, times: usize) -> Instant {
        for _ in 0..times {
            let sent = later(now);
            now = sent + latency;
            pace.succeeded(now, sent, 1.0);
        }
        now
    }

    #[test]
    fn a_healthy_service_gets_more_requests_at_a_time_up_to_the_most() {
        let mut now = Instant::now();
        let mut pace = Pace::new(4, LINGER);
        for (successes, allowed) in [(0, 1), (1, 2), (2, 2), (1, 3), (100, 4)] {
            now = succeed(&mut pace, now, LATENCY, successes);
            assert_eq!(pace.allowed(now), allowed);
        }
    }

    #[test]
    fn a_service_that_is_down_is_probed_by_one_request_at_a_time() {
        let mut pace = Pace::new(8, LINGER);
        let start = later(succeed(&mut pace, Instant::now(), LATENCY, 100));
        pace.failed(start, start, None, 0.5);
        assert_eq!(pace.allowed(start), 0);
        assert_eq!(pace.opens_at(start), Some(start + Duration::from_millis(250)));
        assert_eq!(pace.allowed(start + Duration::from_millis(250)), 1);
        let mut now = start;
        for _ in 0..40 {
            pace.failed(now, now, None, 1.0);
            now = pace.opens_at(now).expect("closed after a failure");
        }
        pace.failed(now, now, None, 1.0);
        assert_eq!(pace.opens_at(now), Some(now + 60 * SECOND));
    }

    /// A service that was down for a minute is taken up again within a quarter of that, and yet asked at most twelve times a
    /// minute after the first half (T1).
    #[test]
    fn a_short_outage_is_not_made_a_long_one() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut late = 0;
        for _ in 0..200 {
            let mut pace = Pace::new(8, LINGER);
            let start = Instant::now();
            let mut now = start;
            while now < start + 60 * SECOND {
                late += usize::from(now >= start + 30 * SECOND);
                pace.failed(now, now, None, random.f64());
                now = later(pace.opens_at(now).expect("closed after a failure"));
            }
            assert!(now - start <= 75 * SECOND, "asked again after {:?}", now - start);
        }
        // The mean of the gaps is 5 to 7.5 s; one more because the first of the half minute may come at once.
        assert!(late <= 200 * 7, "{} in half a minute", late as f64 / 200.0);
    }

    /// A hiccup costs nothing; behind a long outage the next batch of each member of a fleet comes some time later.
    #[test]
    fn a_service_that_comes_back_is_met_gently() {
        for (failures, random, rest) in
            [(1, 1.0, 200), (2, 1.0, 400), (40, 0.0, 20), (40, 0.5, 12_000), (40, 1.0, 24_000)]
        {
            let mut now = Instant::now();
            let mut pace = Pace::new(8, LINGER);
            for _ in 0..failures {
                pace.failed(now, now, None, 0.5);
                now = later(pace.opens_at(now).expect("closed after a failure"));
            }
            pace.succeeded(now, now, random);
            let rests = pace.opens_at(now).map(|until| (until - now).as_millis());
            assert_eq!((rests, pace.failures()), (Some(rest), 0), "after {failures}");
            now += 25 * SECOND;
            pace.succeeded(now, now, random);
            assert_eq!(pace.opens_at(now), None, "once");
        }
    }

    #[test]
    fn throttling_makes_records_wait_for_company_and_success_takes_that_back() {
        let mut now = Instant::now();
        let mut pace = Pace::new(8, LINGER);
        for linger in [3_375, 8_062, 15_093, 25_640, 41_460, 60_000, 60_000] {
            pace.throttled(now, now, None, 1.0);
            assert_eq!(pace.linger().as_millis(), linger);
            now = later(pace.opens_at(now).expect("closed after a failure"));
        }
        for (successes, linger) in [(1, 58_200), (22, 29_778), (100, 1_416), (100, 250)] {
            now = succeed(&mut pace, now, LATENCY, successes);
            assert_eq!(pace.linger().as_millis(), linger);
        }
    }

    /// Where all waited equally long, a fleet came back in waves of twice its quota.
    #[test]
    fn no_two_wait_equally_long_for_company() {
        let now = Instant::now();
        let mut pace = Pace::new(8, LINGER);
        pace.succeeded(now, now, 0.0);
        assert_eq!(pace.linger(), LINGER, "what the user set is not shortened");
        for (random, linger) in [(0.0, 1_812), (0.5, 2_593), (1.0, 3_375)] {
            let mut pace = Pace::new(8, LINGER);
            pace.throttled(now, now, None, random);
            assert_eq!(pace.linger().as_millis(), linger);
        }
    }

    /// A throttled output rests for a part of its linger, at most fifteen seconds, if that is longer than its backoff.
    #[test]
    fn a_throttled_output_rests_as_its_linger_is_long() {
        for (linger, random, rest) in [
            (250, 0.0, 50),
            (250, 1.0, 500),
            (4_000, 0.5, 2_000),
            (9_000, 1.0, 9_000),
            (60_000, 0.5, 7_500),
            (60_000, 1.0, 15_000),
        ] {
            let now = Instant::now();
            let mut pace = Pace { linger: Duration::from_millis(linger), ..Pace::new(8, LINGER) };
            pace.throttled(now, now, None, random);
            assert_eq!(pace.opens_at(now), Some(now + Duration::from_millis(rest)), "{linger} {random}");
        }
    }

    #[test]
    fn what_the_service_asks_for_is_kept_with_at_most_a_quarter_more() {
        let now = Instant::now();
        for (after, random, rest) in [(7, 0.0, 7_000), (7, 0.5, 7_875), (8, 1.0, 10_000), (300, 1.0, 375_000)] {
            let mut pace = Pace::new(8, LINGER);
            pace.throttled(now, now, Some(after * SECOND), random);
            assert_eq!(pace.opens_at(now), Some(now + Duration::from_millis(rest)));
            let mut pace = Pace::new(8, LINGER);
            pace.failed(now, now, Some(after * SECOND), random);
            assert_eq!(pace.opens_at(now), Some(now + Duration::from_millis(rest)));
        }
    }

    /// Answers that take much longer than usual leave a tenth fewer requests at a time, once per round.
    #[test]
    fn slow_answers_mean_fewer_requests_at_a_time() {
        let milliseconds = Duration::from_millis;
        for (usual, slow, allowed) in [(100, 100, 8), (100, 140, 8), (100, 200, 7), (10, 55, 8), (10, 70, 7)] {
            let mut pace = Pace::new(8, LINGER);
            let sent = later(succeed(&mut pace, Instant::now(), milliseconds(usual), 100));
            assert_eq!(pace.allowed(sent), 8);
            pace.succeeded(sent + milliseconds(slow), sent, 1.0);
            assert_eq!(pace.allowed(sent + SECOND), allowed, "{usual} {slow}");
            let again = pace.allowed;
            pace.succeeded(sent + milliseconds(8 * slow), sent, 1.0);
            assert!(pace.allowed >= again || allowed == 8, "they were under way together");
            let now = succeed(&mut pace, sent + SECOND, milliseconds(usual), 100);
            assert_eq!(pace.allowed(now), 8);
        }
    }

    /// A tenth of what succeeds, and one a second; ten may be saved up.
    #[test]
    fn retries_are_paid_for() {
        // Left before, successes, seconds, failures; seconds until the last retry is paid for.
        for (left, successes, seconds, failures, wait) in [
            (10, 0, 0, 10, 0),
            (10, 0, 0, 11, 1),
            (10, 1_000, 1_000, 12, 2),
            (0, 0, 0, 3, 3),
            (0, 0, 2, 3, 1),
            (0, 20, 0, 3, 1),
            (0, 30, 0, 3, 0),
        ] {
            let start = Instant::now();
            let mut pace = Pace::new(8, LINGER);
            pace.retries = Retries { left: f64::from(left), counted_at: Some(start) };
            (0..successes).for_each(|_| pace.retries.earn());
            let now = start + seconds * SECOND;
            let waits: Vec<_> = (0..failures).map(|_| pace.retries.spend(now).as_secs_f64().round()).collect();
            assert_eq!(waits.last(), Some(&f64::from(wait)), "{left} {successes} {seconds} {failures}");
            pace.failed(now, now, None, 0.0);
            assert!(pace.opens_at(now).is_some_and(|opens| opens - now >= wait * SECOND), "the output waits for it");
        }
    }

    /// Eight requests that fail together once counted as eight failures in a row: a minute of silence for one hiccup.
    #[test]
    fn requests_that_fail_together_count_once() {
        let mut pace = Pace::new(8, LINGER);
        let sent = later(succeed(&mut pace, Instant::now(), LATENCY, 100));
        for _ in 0..8 {
            pace.throttled(later(sent), sent, None, 1.0);
        }
        assert_eq!(pace.failures(), 1);
        assert_eq!(pace.opens_at(later(sent)), Some(later(sent) + Duration::from_millis(500)));
        assert_eq!(pace.linger(), Duration::from_millis(3_375));
        let asked = Some(9 * SECOND);
        pace.throttled(later(sent), sent, asked, 0.0);
        assert_eq!(pace.opens_at(later(sent)), Some(later(sent) + 9 * SECOND), "asked is asked");
        pace.succeeded(later(sent), sent, 1.0);
        assert_eq!(pace.opens_at(later(sent)), Some(later(sent) + 9 * SECOND), "old news");
    }

    #[test]
    fn backoff_stays_in_its_bounds_for_any_number_of_failures() {
        for failures in [0, 1, 2, 7, 8, 31, 32, 33, 1_000, u32::MAX] {
            assert!(backoff(failures, 0.0) >= BACKOFF_LEAST);
            assert!(backoff(failures, 0.999) <= BACKOFF_MAX, "{failures}");
        }
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
    }
}

//! The process under test: starting it, and what the kernel says about it.
//!
//! Promises: CPU time in nanoseconds from `schedstat` of all its threads, also of those that ended since the last look;
//! time from exec to a socket that accepts; the process is killed, by its id, when the handle goes.
//! Never: reads ticks for a figure (10 ms each is too coarse); they are there only to cross-check.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    agent::free_address,
    fake_aws::{ACCESS_KEY, REGION, SECRET_KEY},
};

/// How often a starting process is asked whether it accepts.
const BOUND_POLL: Duration = Duration::from_micros(200);
/// A process that does not accept by then has failed.
const BOUND_MAX: Duration = Duration::from_secs(10);

/// What stands in for the parts that only a run knows.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// For `{config}`: a classic configuration file that pillion and Fluent Bit both understand.
    pub config: &'a Path,
    /// For `{socket}`.
    pub socket: &'a Path,
    /// For `{port}`: where CloudWatch is played.
    pub port: u16,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Nanoseconds on a CPU, by thread, as last seen.
    threads: BTreeMap<u32, u64>,
    /// Where it serves `/metrics`, if it is pillion.
    pub admin: SocketAddr,
    /// From exec to the first connection it accepted.
    pub start_to_bound: Duration,
}

impl Process {
    /// Starts `command` (words separated by spaces) and waits until it accepts on the socket. What it prints goes to
    /// `log`.
    pub fn start(command: &str, places: &Places<'_>, log: &Path) -> anyhow::Result<Self> {
        let filled = command
            .replace("{config}", &places.config.to_string_lossy())
            .replace("{socket}", &places.socket.to_string_lossy())
            .replace("{port}", &places.port.to_string());
        Self::launch(&filled, &[], log, &|| UnixStream::connect(places.socket).is_ok())
    }

    /// Starts `command` with these variables besides, and waits until `accepts` says so.
    pub fn launch(
        command: &str,
        variables: &[(&str, String)],
        log: &Path,
        accepts: &dyn Fn() -> bool,
    ) -> anyhow::Result<Self> {
        let mut words = command.split_whitespace();
        let program = words.next().context("the command is empty")?.to_owned();
        let output = fs::File::create(log).with_context(|| format!("cannot create `{}`", log.display()))?;
        let mut prepared = Command::new(&program);
        let admin = free_address()?;
        prepared
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("PILLION__ADMIN__LISTEN", admin.to_string())
            .envs([
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
                ("AWS_REGION", REGION),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let begun = Instant::now();
        let child = prepared.spawn().with_context(|| format!("cannot start `{program}`"))?;
        let mut process = Self { child, threads: BTreeMap::new(), admin, start_to_bound: Duration::ZERO };
        while !accepts() {
            if let Some(status) = process.child.try_wait()? {
                bail!("`{program}` ended before it accepted ({status}):\n{}", tail(log));
            }
            if begun.elapsed() > BOUND_MAX {
                bail!("`{program}` does not accept:\n{}", tail(log));
            }
            thread::sleep(BOUND_POLL);
        }
        process.start_to_bound = begun.elapsed();
        Ok(process)
    }

    /// Looks at all threads and gives the CPU time of the process so far. Call it several times a second: what a
    /// thread used between the last look and its end is not seen.
    pub fn cpu(&mut self) -> Duration {
        let folder = format!("/proc/{}/task", self.child.id());
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(nanos) = text.split(' ').next().and_then(|first| first.parse().ok()) {
                self.threads.insert(thread, nanos);
            }
        }
        Duration::from_nanos(self.threads.values().sum())
    }

    /// User and system time in ticks of 10 ms, to cross-check.
    pub fn cpu_ticks(&self) -> Duration {
        ticks(&self.child.id().to_string())
    }

    /// A line of `/proc/PID/status` that is in kB, for example `VmRSS` or `VmHWM`.
    pub fn status_kb(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// True while it runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// User and system time of the bench itself.
pub fn own_cpu_ticks() -> Duration {
    ticks("self")
}

fn ticks(process: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15 of proc(5), the first here is 3.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    // The kernel brings the number up to date when a thread gives way; without this it lags by up to a tick.
    thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

/// Makes sleeps of the calling thread end within a few microseconds, not within the usual 50 of slack.
pub fn sleep_precisely() {
    let Ok(link) = fs::read_link("/proc/thread-self") else { return };
    let Some(thread) = link.file_name() else { return };
    // Without the permission the schedule is a little coarser, and the sender catches up.
    let _ = fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_this_thread_grows_with_its_work() {
        let before = thread_cpu();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {}
        let used = thread_cpu() - before;
        assert!(used > Duration::from_micros(500), "{used:?}");
    }
}

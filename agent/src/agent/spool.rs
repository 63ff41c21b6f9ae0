//! The spool that the user wants, opened or not.
//!
//! Promises: a spool that must work and does not is a problem with its place; one that need not is told, and shows as
//! degraded for as long as the agent lives.
//! Never: creates a folder that nobody named.

use std::{path::PathBuf, sync::Arc};

use tracing::error;

use crate::{
    config::Config,
    deliver::spooling::{Orphan, Spooling, Wish, shared_out},
    logs::job as logs,
    metrics::job as metrics,
    problem::Problem,
    tell::chain,
    traces::settings as traces,
    units::ByteSize,
};

/// The spool, or why there is none.
#[derive(Debug, Default)]
pub struct Spool {
    /// The folder that was named.
    pub(super) wanted: Option<PathBuf>,
    pub(super) opened: Option<Spooling>,
    /// The outputs that should have one and have none.
    pub(super) without: Vec<Arc<str>>,
    /// What does not work, for a person.
    pub(super) failures: Vec<String>,
}

impl Spool {
    /// Opens what `config` names. All problems if it must work and does not.
    pub fn open(config: &Config) -> Result<Self, Vec<Problem>> {
        let Some(path) = config.spool.path.clone() else { return Ok(Self::default()) };
        let wish = Wish {
            path: path.clone(),
            outputs: shares(config),
            when_full: config.spool.when_full,
            at_once: config.logs.copies_at_once() || config.traces.copies_at_once(),
        };
        let outputs: Vec<Arc<str>> = wish.outputs.iter().map(|(name, _)| Arc::clone(name)).collect();
        let spool = match Spooling::open(wish) {
            Ok(opened) => Self {
                wanted: Some(path),
                without: opened.without().iter().map(|without| Arc::clone(&without.output)).collect(),
                failures: opened
                    .without()
                    .iter()
                    .map(|without| format!("output {} has no spool: {}", without.output, without.why))
                    .collect(),
                opened: Some(opened),
            },
            Err(error) => {
                if !config.spool.required {
                    error!(error = %chain(&error), "there is no spool; records are kept in memory only");
                }
                let failures = vec![format!("there is no spool: {}", chain(&error))];
                Self { wanted: Some(path), opened: None, without: outputs, failures }
            }
        };
        if config.spool.required && !spool.failures.is_empty() {
            let hint = "mend it, or take `spool.required` away: then records are kept in memory only";
            let problem = |what: &String| Problem::error(&config.spool_place, what, hint);
            return Err(spool.failures.iter().map(problem).collect());
        }
        Ok(spool)
    }

    /// Where it is, for the first line of the log.
    pub(super) fn described(&self) -> String {
        match &self.opened {
            Some(opened) => opened.path().display().to_string(),
            None => "none: what is not delivered when the agent ends is lost".to_owned(),
        }
    }

    /// What outputs left that are configured no more.
    pub(super) fn orphans(&self) -> &[Orphan] {
        self.opened.as_ref().map_or(&[], Spooling::orphans)
    }
}

/// The outputs that have a part of the disk, and how large it is.
pub fn shares(config: &Config) -> Vec<(Arc<str>, ByteSize)> {
    let names = logs::names(&config.logs.outputs).into_iter().zip(&config.logs.outputs);
    let logs =
        names.filter(|(_, output)| output.to.keeps_records()).map(|(name, output)| (name, output.spool_bytes_max));
    let outputs = config.traces.running();
    let traces = traces::names(&outputs).into_iter().zip(outputs.iter().map(|output| output.spool_bytes_max));
    let outputs = config.metrics.running();
    let metrics = metrics::names(outputs).into_iter().zip(outputs).filter(|(_, output)| output.keeps());
    let metrics = metrics.map(|(name, output)| (name, output.spool_bytes_max));
    let (names, parts): (Vec<_>, Vec<_>) = logs.chain(traces).chain(metrics).unzip();
    names.into_iter().zip(shared_out(config.spool.bytes_max, &parts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Environment, Sources},
        fluentbit::InMemory,
    };

    /// The configuration with a spool at `path`, where the file `lock` cannot be made.
    fn config(path: &std::path::Path, more: &str) -> Config {
        let text = format!(
            "spool: {{path: {}{more}}}\nlogs:\n  outputs:\n    - {{name: a, to: {{file: {{folder: /x}}}}}}\n    - to: discard\n",
            path.display()
        );
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let files = InMemory::one("p.yaml", text);
        config::load(&Sources { file: Some("p.yaml".into()), environment, files: &files }).expect("it is well").0
    }

    /// Each output that keeps what it is given has a part: what metrics send as documents is kept by the logs' output.
    #[test]
    fn outputs_of_every_job_have_their_parts_of_the_disk() {
        let text = "spool: {path: /x, bytes_max: 160 MiB}\n\
                    logs: {outputs: [{match: '*', to: {cloudwatch: {group: g, stream: s}}}]}\n\
                    traces: {inputs: [{xray: {}}]}\n\
                    metrics:\n  inputs: [{statsd: {}}]\n  outputs:\n    - {to: {cloudwatch: {}}, spool_bytes_max: 32 MiB}\n    \
                    - to: {emf: {}}\n    - to: {otlp: {endpoint: 'http://127.0.0.1:4318'}}\n";
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let files = InMemory::one("p.yaml", text.to_owned());
        let config =
            config::load(&Sources { file: Some("p.yaml".into()), environment, files: &files }).expect("it is well").0;
        let shares: Vec<_> = shares(&config).iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
        // 32 MiB are asked for, and three others share the other 128.
        let equal = ByteSize((128 << 20) / 3);
        assert_eq!(
            shares,
            [
                format!("cloudwatch.0 {equal}"),
                format!("xray.0 {equal}"),
                "cloudwatch_metrics.0 32 MiB".to_owned(),
                format!("otlp_metrics.0 {equal}"),
            ]
        );
    }

    /// T15: without a folder that can be used the agent starts and says so, unless the user wants no start without it.
    #[test]
    fn a_spool_that_must_work_and_does_not_refuses_the_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "in the way").expect("writes");
        let spool = Spool::open(&config(&file, "")).expect("it need not work");
        assert!(spool.opened.is_none() && spool.wanted.is_some());
        assert_eq!(spool.without, ["a".into()]);
        let [what] = &spool.failures[..] else { panic!("{:?}", spool.failures) };
        assert!(what.starts_with("there is no spool: ") && what.contains("is not a folder"), "{what}");

        let problems = Spool::open(&config(&file, ", required: true")).expect_err("it must work");
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.place.as_str(), &problem.what), ("p.yaml:1 spool.path", what));
        assert!(problem.hint.contains("spool.required"), "{}", problem.hint);
        // One output's part is enough to refuse.
        let part = folder.path().join("spool");
        std::fs::create_dir(&part).expect("a folder");
        std::fs::write(part.join("a"), "in the way").expect("writes");
        let problems = Spool::open(&config(&part, ", required: true")).expect_err("it must work");
        assert!(problems[0].what.starts_with("output a has no spool: "), "{}", problems[0].what);
        let well = Spool::open(&config(&folder.path().join("well"), ", required: true")).expect("it works");
        assert!(well.opened.is_some() && well.failures.is_empty() && well.without.is_empty());
    }
}

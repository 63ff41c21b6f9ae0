//! The `docker` command as the stories need it: containers and networks that go away with the story.
//!
//! Promises: what a story made is removed when it ends, however it ends; a command that fails says what it said.
//! Never: touches a container, network or image that it did not make.

use std::{
    io,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tests::leaks;

use crate::environment;

/// How long anything that a story waits for may take on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, looking at it fifty times a second.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs a program to its end and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Runs `docker ARGUMENTS` to its end and gives its standard output.
pub(crate) fn docker(arguments: &[&str]) -> Result<String> {
    output(Command::new("docker").args(arguments))
}

/// A container of the story, stopped and removed on drop.
pub(crate) struct Container {
    id: String,
}

impl Container {
    /// `docker run --detach ARGUMENTS`.
    pub(crate) fn run(arguments: &[&str]) -> Result<Self> {
        let id = docker(&[&["run", "--detach"], arguments].concat())?;
        Ok(Self { id })
    }

    /// `docker create ARGUMENTS`: a container that is never started.
    pub(crate) fn create(arguments: &[&str]) -> Result<Self> {
        let id = docker(&[&["create"], arguments].concat())?;
        Ok(Self { id })
    }

    /// The 64 hexadecimal digits that Docker knows it by.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// One value of `docker inspect`, for example `{{.State.ExitCode}}`.
    pub(crate) fn inspect(&self, format: &str) -> Result<String> {
        docker(&["inspect", "--format", format, &self.id])
    }

    /// The address in the only network that the container is in.
    pub(crate) fn address(&self) -> Result<String> {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// What the container wrote on its standard error.
    pub(crate) fn told(&self) -> Result<String> {
        let output = Command::new("docker").args(["logs", &self.id]).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Everything that it wrote.
    fn logs(&self) -> io::Result<Vec<u8>> {
        let output = Command::new("docker").args(["logs", &self.id]).stdin(Stdio::null()).output()?;
        Ok([output.stdout, output.stderr].concat())
    }

    /// Runs a command inside the container, as ECS runs a health check, and gives its exit code.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<Option<i32>> {
        let status = Command::new("docker")
            .args([&["exec", self.id.as_str()], command].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.code())
    }

    /// SIGTERM, then SIGKILL after that many seconds, as ECS stops a container. Gives the exit code.
    pub(crate) fn stop(&self, seconds: u32) -> Result<i32> {
        docker(&["stop", "--time", &seconds.to_string(), &self.id])?;
        Ok(self.inspect("{{.State.ExitCode}}")?.parse()?)
    }

    /// SIGKILL, and waits until the container has ended.
    pub(crate) fn kill(&self) -> Result<()> {
        docker(&["kill", &self.id])?;
        self.wait().map(drop)
    }

    /// Waits until the container has ended by itself. Gives the exit code.
    pub(crate) fn wait(&self) -> Result<i32> {
        Ok(docker(&["wait", &self.id])?.parse()?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.inspect("{{.Config.Image}}").is_ok_and(|image| image == environment("PILLION_IMAGE")) {
            leaks::keep_log(self.logs());
        }
        // A failure here must not hide the one that ended the story.
        drop(docker(&["rm", "--force", "--volumes", &self.id]));
    }
}

/// A bridge network of the story: the container has ports of its own and reaches this machine by the gateway.
pub(crate) struct Network {
    id: String,
    /// The address of this machine in the network.
    pub(crate) gateway: String,
}

impl Network {
    /// A new network with a name that nobody else has.
    pub(crate) fn create(story: &str) -> Result<Self> {
        let id = docker(&["network", "create", &format!("pillion-{story}-{}", std::process::id())])?;
        let gateway = docker(&["network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", &id]);
        Ok(Self { gateway: gateway?, id })
    }

    /// What `docker run --network` takes.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(docker(&["network", "rm", &self.id]));
    }
}

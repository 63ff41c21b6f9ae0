//! A PostgreSQL of Debian, in a temporary folder, on a unix socket, as a user without rights.
//!
//! Promises: passwords are checked for everybody (SCRAM); it says how many it refused; it is gone when the handle goes.
//! Never: listens on a network but this machine's own, or touches a cluster that is not its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use tempfile::TempDir;
use tests::wait::until;

use crate::SOON;

/// Debian's `nobody` and `nogroup`: the server refuses to run as root.
const NOBODY: u32 = 65_534;
/// Where Debian has the versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// What a socket is called after if nobody listens on a port.
const PORT: u16 = 5_432;
const PASSWORD: &str = "canary-superuser";

/// A running server with one database, `postgres`.
pub(crate) struct Postgres {
    server: Child,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one. With a port it listens on the loopback address too.
    pub(crate) fn start(port: Option<u16>) -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (own, password) = (folder.path().join("own"), folder.path().join("password"));
        fs::create_dir(&own).unwrap();
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
        let data = own.join("data");
        let mut making = program("initdb");
        making.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        let made = making.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut server = program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&own).args(["-c", "fsync=off"]);
        let addresses = port.map_or("listen_addresses=", |_| "listen_addresses=127.0.0.1");
        let port = port.unwrap_or(PORT);
        server.args(["-c", addresses, "-p", &port.to_string()]);
        let server = server.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let postgres = Self { server, folder, port };
        let is_ready = || postgres.log().contains("database system is ready to accept connections");
        until(SOON, || format!("the database: {}", postgres.log()), is_ready);
        postgres
    }

    /// The folder of its socket, which is a `host` for its clients.
    pub(crate) fn host(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    /// How its administrator connects.
    pub(crate) fn admin(&self) -> String {
        format!("host={} port={} user=postgres password={PASSWORD} dbname=postgres", self.host().display(), self.port)
    }

    /// How many passwords it has refused.
    pub(crate) fn refused(&self) -> usize {
        self.log().matches("password authentication failed").count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast shutdown: its own children end with it. A kill would leave them.
        let _ = Command::new("/bin/sh").arg("-c").arg(format!("kill -INT {}", self.server.id())).status();
        let _ = self.server.wait();
    }
}

/// A program of the newest version that is there.
pub(crate) fn program(name: &str) -> Command {
    let versions = fs::read_dir(VERSIONS).unwrap_or_else(|_| panic!("no PostgreSQL: run this story by tests/run"));
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| version(path));
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(newest.unwrap().join("bin").join(name));
    // Whatever the machine speaks, its log says what we look for in English.
    command.env_clear().envs([("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")]).stdin(std::process::Stdio::null());
    command
}

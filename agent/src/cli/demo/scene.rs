//! Where the demo plays: its folder, addresses and configuration.
//!
//! Promises: every file lies in the demo's folder; addresses are loopback and free.
//! Never: removes what a person put into the folder.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

/// Bytes of a unix socket's path, `sun_path` of `unix(7)`, less the closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why there is no place for the demo.
#[derive(Debug, thiserror::Error)]
pub(super) enum SceneError {
    #[error("cannot write in `{folder}`; choose another with --folder")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("`{folder}` is too long for a unix socket in it; choose a shorter one with --folder")]
    TooLong { folder: PathBuf },
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
}

/// Folder, addresses and configuration of one demo.
#[derive(Debug)]
pub(super) struct Scene {
    /// The configuration, in our own format, to look at and to start from.
    pub(super) config: PathBuf,
    /// The socket that Docker's log driver would write to.
    pub(super) unix: PathBuf,
    /// The port that an SDK would write to.
    pub(super) tcp: SocketAddr,
    /// The port that the X-Ray SDK would write to.
    pub(super) segments: SocketAddr,
    /// The port that an OpenTelemetry SDK would write to, and the one for gRPC, which nobody uses here.
    pub(super) spans: SocketAddr,
    pub(super) grpc: SocketAddr,
    /// The backend of the demo, which draws traces.
    pub(super) backend: SocketAddr,
    /// The agent's own address.
    pub(super) admin: SocketAddr,
    /// Where delivered records are.
    pub(super) records: PathBuf,
    /// Where the last trace is.
    pub(super) trace: PathBuf,
}

impl Scene {
    /// Makes the folder and writes the configuration.
    pub(super) fn set(folder: &Path) -> Result<Self, SceneError> {
        let ports = [
            port_near(24224)?,
            datagrams_near(2000)?,
            port_near(4318)?,
            port_near(4317)?,
            port_near(4319)?,
            port_near(9464)?,
        ];
        let scene = Self::in_folder(folder, ports);
        if scene.unix.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(SceneError::TooLong { folder: folder.into() });
        }
        fs::create_dir_all(&scene.records)
            .and_then(|()| fs::write(&scene.config, scene.yaml()))
            .map_err(|source| SceneError::Folder { folder: folder.into(), source })?;
        Ok(scene)
    }

    #[cfg(test)]
    pub(super) fn for_test(folder: &str) -> Self {
        let ports = [24224, 2000, 4318, 4317, 4319, 9464].map(|port| ([127, 0, 0, 1], port).into());
        Self::in_folder(Path::new(folder), ports)
    }

    fn in_folder(folder: &Path, [tcp, segments, spans, grpc, backend, admin]: [SocketAddr; 6]) -> Self {
        Self {
            config: folder.join("pillion.yaml"),
            unix: folder.join("fluent.sock"),
            tcp,
            segments,
            spans,
            grpc,
            backend,
            admin,
            records: folder.join("records"),
            trace: folder.join("trace.txt"),
        }
    }

    fn yaml(&self) -> String {
        let Self { config, unix, tcp, segments, spans, grpc, backend, admin, records, .. } = self;
        let config = config.display();
        // Debug writes a path as a quoted string, which YAML reads.
        format!(
            "\
# Written by `pillion demo`. Try: pillion check --config {config}
logs:
  inputs:
    - forward:
        unix: {unix:?}
        tcp: \"{tcp}\"
  outputs:
    - match: \"*\"
      to:
        file:
          folder: {records:?}
traces:
  inputs:
    - xray:
        udp: \"{segments}\"
        tcp: \"off\"
    - otlp:
        http: \"{spans}\"
        grpc: \"{grpc}\"
  outputs:
    - to:
        otlp:
          endpoint: \"http://{backend}\"
          compression: none
admin:
  listen: \"{admin}\"
"
        )
    }

    /// What is happening, where to look, how to stop.
    pub(super) fn explanation(&self, records_per_second: u64) -> String {
        let Self { config, unix, tcp, segments, spans, admin, records, trace, .. } = self;
        let (config, unix, records, trace) = (config.display(), unix.display(), records.display(), trace.display());
        let look = [
            (format!("tail -F {records}/*"), "the records as they are delivered"),
            (format!("cat {trace}"), "the last trace, drawn from what a backend of OTLP got"),
            (format!("curl http://{admin}/metrics"), "its counters, and the books of every container"),
            (format!("curl http://{admin}/status"), "what runs, what was delivered, what was lost"),
            (format!("cat {config}"), "the configuration of this demo, to start from"),
        ];
        let width = look.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
        let look: String = look.iter().map(|(command, what)| format!("  {command:<width$}   {what}\n")).collect();
        format!(
            "\
pillion demo: the agent runs here, with three made-up containers that print {records_per_second} records a second.

  web     JSON lines   -> unix socket {unix}, as Docker's log driver writes them
  worker  plain lines  -> the same socket
  cron    gzip batches -> TCP {tcp}, with an acknowledgement for each

Every two seconds web has an order that worker charges, and both tell of it, as one trace:

  web     a segment    -> UDP {segments}, as the X-Ray SDK sends it
  worker  a span       -> http://{spans}, as OpenTelemetry's SDKs send it

The agent delivers records to files instead of CloudWatch Logs, and spans to a backend here instead of yours. Look at:

{look}
Stop with Ctrl-C: the agent delivers what it has and shows the books.

"
        )
    }
}

/// The same for datagrams.
fn datagrams_near(port: u16) -> Result<SocketAddr, SceneError> {
    let free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).and_then(|socket| socket.local_addr());
    free(port).or_else(|_| free(0)).map_err(SceneError::Port)
}

/// `port` of 127.0.0.1 if nobody has it, else one that is free.
fn port_near(port: u16) -> Result<SocketAddr, SceneError> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    free(port).or_else(|_| free(0)).map_err(SceneError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_says_what_where_and_how_to_stop() {
        insta::assert_snapshot!(Scene::for_test("pillion-demo").explanation(200), @"
        pillion demo: the agent runs here, with three made-up containers that print 200 records a second.

          web     JSON lines   -> unix socket pillion-demo/fluent.sock, as Docker's log driver writes them
          worker  plain lines  -> the same socket
          cron    gzip batches -> TCP 127.0.0.1:24224, with an acknowledgement for each

        Every two seconds web has an order that worker charges, and both tell of it, as one trace:

          web     a segment    -> UDP 127.0.0.1:2000, as the X-Ray SDK sends it
          worker  a span       -> http://127.0.0.1:4318, as OpenTelemetry's SDKs send it

        The agent delivers records to files instead of CloudWatch Logs, and spans to a backend here instead of yours. Look at:

          tail -F pillion-demo/records/*       the records as they are delivered
          cat pillion-demo/trace.txt           the last trace, drawn from what a backend of OTLP got
          curl http://127.0.0.1:9464/metrics   its counters, and the books of every container
          curl http://127.0.0.1:9464/status    what runs, what was delivered, what was lost
          cat pillion-demo/pillion.yaml        the configuration of this demo, to start from

        Stop with Ctrl-C: the agent delivers what it has and shows the books.
        ");
    }

    #[test]
    fn the_configuration_is_in_our_own_format() {
        insta::assert_snapshot!(Scene::for_test("pillion-demo").yaml(), @r#"
        # Written by `pillion demo`. Try: pillion check --config pillion-demo/pillion.yaml
        logs:
          inputs:
            - forward:
                unix: "pillion-demo/fluent.sock"
                tcp: "127.0.0.1:24224"
          outputs:
            - match: "*"
              to:
                file:
                  folder: "pillion-demo/records"
        traces:
          inputs:
            - xray:
                udp: "127.0.0.1:2000"
                tcp: "off"
            - otlp:
                http: "127.0.0.1:4318"
                grpc: "127.0.0.1:4317"
          outputs:
            - to:
                otlp:
                  endpoint: "http://127.0.0.1:4319"
                  compression: none
        admin:
          listen: "127.0.0.1:9464"
        "#);
    }

    #[test]
    fn everything_lies_in_the_folder_and_taken_ports_are_avoided() {
        let folder = tempfile::tempdir().unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        assert_ne!(port_near(taken.port()).unwrap(), taken);
        let scene = Scene::set(&folder.path().join("new")).unwrap();
        assert!(scene.config.is_file() && scene.records.is_dir());
        let long = folder.path().join("x".repeat(100));
        assert!(matches!(Scene::set(&long), Err(SceneError::TooLong { .. })));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Scene::set(&file), Err(SceneError::Folder { .. })));
    }
}

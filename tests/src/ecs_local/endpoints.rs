//! What the ECS agent serves to the containers of a task: metadata (version 4), statistics, credentials.
//!
//! Promises: a container is told about itself by the address that only it knows; statistics are the engine's own; credentials are
//! given with an expiration, so that clients ask again.
//! Never: gives credentials of a real account: they are made up.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::engine::Engine;
use crate::http::Connection;

/// Who the task is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The region.
    pub region: String,
    /// The account.
    pub account: String,
    /// 32 hexadecimal digits.
    pub task: String,
    /// The family of the definition; the revision is 1.
    pub family: String,
    /// `FARGATE` or `EC2`.
    pub launch_type: &'static str,
    /// vCPUs and MiB, as far as the task has limits.
    pub limits: Value,
}

impl Identity {
    /// The task's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:ecs:{}:{}:task/{}/{}", self.region, self.account, self.cluster, self.task)
    }
}

/// A container as metadata tell it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name in the definition.
    pub name: String,
    /// The image as the definition names it.
    pub image: String,
    /// Its id in the engine.
    pub id: String,
}

/// What is served, and about whom.
pub struct Endpoints {
    engine: Engine,
    identity: Identity,
    members: Vec<Member>,
}

/// Starts serving at an address of this machine. It goes on until the process ends.
pub fn serve(at: &str, engine: Engine, identity: Identity, members: Vec<Member>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((at, 0)).with_context(|| format!("{at} is no address of this machine"))?;
    let address = listener.local_addr()?;
    let endpoints = Arc::new(Endpoints { engine, identity, members });
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let endpoints = Arc::clone(&endpoints);
            // Who goes away in the middle is no matter of ours.
            thread::spawn(move || drop(endpoints.connection(stream)));
        }
    });
    Ok(address)
}

impl Endpoints {
    fn connection(&self, stream: TcpStream) -> Result<()> {
        let mut connection = Connection::new(stream);
        while let Some(request) = connection.request()? {
            let (status, body) = match self.answer(&request.path) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", json!({"message": "not found"})),
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            connection.stream().write_all((head + &body).as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, path: &str) -> Option<Value> {
        if path.starts_with("/v2/credentials/") {
            return Some(credentials());
        }
        let rest = path.strip_prefix("/v4/")?;
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        let member = self.members.iter().find(|member| member.name == id)?;
        match what {
            "" => Some(self.container(member)),
            "stats" => self.statistics(member),
            "task" | "taskWithTags" => Some(self.task()),
            "task/stats" => {
                let all = self.members.iter().map(|it| (it.id.clone(), self.statistics(it).unwrap_or(Value::Null)));
                Some(Value::Object(all.collect()))
            }
            _ => None,
        }
    }

    fn statistics(&self, member: &Member) -> Option<Value> {
        self.engine.ask("GET", &format!("/containers/{}/stats?stream=false&one-shot=true", member.id), None).ok()
    }

    fn container(&self, member: &Member) -> Value {
        let known = self.engine.inspect(&member.id).unwrap_or_default();
        let status = if known["State"]["Running"] == json!(true) { "RUNNING" } else { "STOPPED" };
        let code = Some(&known["State"]["ExitCode"]).filter(|_| known["State"]["Status"] == "exited");
        json!({
            "ExitCode": code,
            "DockerId": member.id,
            "Name": member.name,
            "DockerName": known["Name"].as_str().unwrap_or_default().trim_start_matches('/'),
            "Image": member.image,
            "ImageID": known["Image"],
            "Labels": known["Config"]["Labels"],
            "DesiredStatus": "RUNNING",
            "KnownStatus": status,
            "Limits": {"CPU": known["HostConfig"]["CpuShares"], "Memory": known["HostConfig"]["Memory"].as_u64().unwrap_or(0) >> 20},
            "CreatedAt": known["Created"],
            "StartedAt": known["State"]["StartedAt"],
            "Type": "NORMAL",
            "ContainerARN": format!("{}/{}", self.identity.arn().replace(":task/", ":container/"), member.name),
        })
    }

    fn task(&self) -> Value {
        let Identity { cluster, family, launch_type, region, limits, .. } = &self.identity;
        json!({
            "Cluster": cluster,
            "TaskARN": self.identity.arn(),
            "Family": family,
            "Revision": "1",
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "AvailabilityZone": format!("{region}a"),
            "LaunchType": launch_type,
            "Limits": limits,
            "Containers": self.members.iter().map(|member| self.container(member)).collect::<Vec<_>>(),
        })
    }
}

fn credentials() -> Value {
    // Six hours from now, as the agent gives them.
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(6);
    json!({
        "RoleArn": "arn:aws:iam::123456789012:role/ecs-local",
        "AccessKeyId": "ASIAECSLOCALECSLOCAL",
        "SecretAccessKey": "made-up-by-ecs-local",
        "Token": "made-up-by-ecs-local",
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

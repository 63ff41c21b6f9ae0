//! The rights that a task definition needs: for pillion in the task role, for ECS in the execution role.
//!
//! Promises: what is listed is what the configuration of this container makes pillion ask for, in the file that ECS generates
//! and in its variables, each on the narrowest resource that IAM knows.
//! Never: lists a right for what is switched off, or what the app itself needs.

mod policy;

use std::{collections::BTreeSet, path::PathBuf};

use policy::Policy;

use super::{
    firelens::{self, Identity},
    tree::{self, Node},
    view::{Container, Task},
};
use crate::{
    config::{self, Config, Environment, FIRELENS_FILE, Sources},
    fluentbit::InMemory,
    problem::{Problem, Severity},
};

/// Where the task runs, for what does not say it itself.
#[derive(Clone, Debug)]
pub struct Account {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The region.
    pub region: String,
    /// Twelve digits.
    pub id: String,
}

/// One statement of a policy that allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is for: letters and digits.
    pub sid: &'static str,
    /// The actions.
    pub actions: Vec<&'static str>,
    /// ARNs, perhaps with `*` and `?`.
    pub resources: BTreeSet<String>,
    /// A condition: operator, key, values.
    pub condition: Option<(&'static str, &'static str, Vec<String>)>,
}

/// What stands for a region that the definition does not show.
const UNKNOWN_REGION: &str = "REGION";

/// What a container would run with.
pub type Loaded = Result<(Config, Vec<Problem>), Vec<Problem>>;

impl Account {
    /// As the definition's own ARNs and log options show it; `XXXX` where they do not.
    pub fn of(task: Task<'_>) -> Self {
        let mut texts: Vec<String> =
            ["taskRoleArn", "executionRoleArn"].iter().filter_map(|key| task.0.text_of(key)).collect();
        for container in task.containers() {
            texts.extend(container.0.items_of("secrets").filter_map(|secret| secret.text_of("valueFrom")));
        }
        let parts: Vec<Vec<&str>> = texts.iter().map(|text| text.split(':').collect()).collect();
        let arn_part = |index: usize| {
            let parts = parts.iter().filter(|parts| parts[0] == "arn");
            let fits =
                |part: &&&str| !part.is_empty() && (index != 4 || part.bytes().all(|byte| byte.is_ascii_digit()));
            parts.filter_map(|parts| parts.get(index)).find(fits).map(|part| (*part).to_owned())
        };
        let region = task.containers().into_iter().find_map(|container| {
            let option = container.log_option("awslogs-region").or_else(|| container.log_option("region"));
            option.or_else(|| Some(registry(&container.image()?)?.1))
        });
        let id = arn_part(4).or_else(|| task.containers().into_iter().find_map(|it| Some(registry(&it.image()?)?.0)));
        Self {
            partition: arn_part(1).unwrap_or_else(|| "aws".to_owned()),
            region: region.or_else(|| arn_part(3)).unwrap_or_else(|| UNKNOWN_REGION.to_owned()),
            id: id.unwrap_or_else(|| "ACCOUNT".to_owned()),
        }
    }

    fn arn(&self, service: &str, region: Option<&str>, resource: &str) -> String {
        let region = region.unwrap_or(&self.region);
        format!("arn:{}:{service}:{region}:{}:{resource}", self.partition, self.id)
    }
}

/// Account and region of an image in ECR.
fn registry(image: &str) -> Option<(String, String)> {
    let host = image.split('/').next()?;
    let parts: Vec<&str> = host.split('.').collect();
    let is_ecr = parts.len() >= 6 && parts[1] == "dkr" && parts[2] == "ecr";
    // Templates write `${AWS::AccountId}`.
    let is_written = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    (is_ecr && is_written).then(|| (parts[0].to_owned(), parts[3].to_owned()))
}

/// The container that runs pillion, by its image, its label or its health check.
pub fn ours(task: Task<'_>) -> Option<Container<'_>> {
    task.containers().into_iter().find(|container| {
        let checks = container.0.get("healthCheck").into_iter().flat_map(|check| check.items_of("command"));
        container.image_name().as_deref() == Some("pillion")
            || container.label(super::inject::LABEL).is_some()
            || checks.filter_map(|word| word.text()).any(|word| word == "/pillion")
    })
}

/// What pillion would run with in this container: the generated file if it is the router, and the container's variables.
pub fn loaded(task: Task<'_>, container: Container<'_>, account: &Account) -> Loaded {
    let mut variables: Vec<(String, String)> = container
        .environment()
        // A value that is computed is some value: where it matters, a word stands for it.
        .map(|(name, value)| (name, value.text().unwrap_or_else(|| "computed".to_owned())))
        .collect();
    if account.region != UNKNOWN_REGION {
        variables.push(("AWS_REGION".to_owned(), account.region.clone()));
    }
    let mut files = InMemory::default();
    if container.is_router() {
        let family = task.0.text_of("family").unwrap_or_else(|| "family".to_owned());
        let identity = Identity {
            cluster: "cluster".to_owned(),
            task_arn: account.arn("ecs", None, "task/cluster/id"),
            definition: format!("{family}:1"),
        };
        variables.extend(firelens::secret_variables(task).into_iter().map(|(name, _)| (name, "secret".to_owned())));
        let text = firelens::generated(task, &identity).unwrap_or_default();
        files = files.and(FIRELENS_FILE, text);
    }
    let environment: Environment = variables.into_iter().collect();
    // `pillion run --config FILE` and `-c FILE` name a file of the image, which is not seen here.
    let words: Vec<String> = container.0.items_of("command").filter_map(|word| word.text()).collect();
    let named = words.iter().position(|word| word == "--config" || word == "-c").and_then(|at| words.get(at + 1));
    let file = named.filter(|file| file.as_str() != FIRELENS_FILE).map(PathBuf::from);
    if let Some(file) = file {
        let what = format!("is configured by `{}`, which is in its image and not seen here", file.display());
        let place = container.name().unwrap_or_default();
        let hint = "say it by variables (PILLION__..), or look at that file with `pillion check`";
        return Err(vec![Problem { severity: Severity::Warning, ..Problem::error(place, what, hint) }]);
    }
    config::load(&Sources { file: None, environment, files: &files })
}

/// What the task role needs for pillion, with `key` if secrets are encrypted with a key of their own.
pub fn task_role(config: &Config, account: &Account, key: Option<&str>) -> Vec<Statement> {
    let mut policy = Policy::of(account);
    policy.of_logs(config);
    policy.of_traces(config);
    policy.of_metrics(config);
    policy.of_secrets(config, key);
    policy.statements
}

/// What the execution role needs to start the task.
pub fn execution_role(task: Task<'_>, account: &Account, key: Option<&str>) -> Vec<Statement> {
    let mut policy = Policy::of(account);
    for container in task.containers() {
        if let Some((id, region)) = container.image().as_deref().and_then(registry) {
            policy.allow("PullToken", &["ecr:GetAuthorizationToken"], "*".to_owned());
            let image = container.image().unwrap_or_default();
            let repository =
                image.split_once('/').map_or("", |(_, path)| path).split(['@', ':']).next().unwrap_or_default();
            let arn = format!("arn:{}:ecr:{region}:{id}:repository/{repository}", account.partition);
            let actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
            policy.allow("PullImages", &actions, arn);
        }
        if container.log_driver().as_deref() == Some("awslogs")
            && let Some(group) = container.log_option("awslogs-group")
        {
            let region = container.log_option("awslogs-region");
            let arn = account.arn("logs", region.as_deref(), &format!("log-group:{group}:*"));
            policy.allow("WriteLogs", &["logs:CreateLogStream", "logs:PutLogEvents"], arn.clone());
            if container.log_option("awslogs-create-group").as_deref() == Some("true") {
                policy.allow("CreateLogGroups", &["logs:CreateLogGroup"], arn);
            }
        }
        let options = container.0.get("logConfiguration").into_iter().flat_map(|log| log.items_of("secretOptions"));
        for secret in container.0.items_of("secrets").chain(options) {
            let Some(from) = secret.text_of("valueFrom") else { continue };
            match from.split(':').nth(2) {
                Some("secretsmanager") => {
                    let arn = from.split(':').take(7).collect::<Vec<_>>().join(":");
                    policy.allow("ReadSecrets", &["secretsmanager:GetSecretValue"], arn);
                }
                Some(_) => policy.allow("ReadParameters", &["ssm:GetParameters"], from),
                None => {
                    let arn = account.arn("ssm", None, &format!("parameter/{}", from.trim_start_matches('/')));
                    policy.allow("ReadParameters", &["ssm:GetParameters"], arn);
                }
            }
        }
        let firelens = container.0.get("firelensConfiguration").and_then(|firelens| firelens.get("options"));
        let option = |name: &str| firelens.and_then(|options| options.raw(name)).and_then(|value| value.text());
        if option("config-file-type").as_deref() == Some("s3")
            && let Some(object) = option("config-file-value")
        {
            let bucket = object.split('/').next().unwrap_or_default().to_owned();
            policy.allow("ReadRouterConfiguration", &["s3:GetObject"], object);
            policy.allow("FindRouterConfiguration", &["s3:GetBucketLocation"], bucket);
        }
    }
    policy.of_key(key);
    policy.statements
}

/// Statements as a policy document.
pub fn document(statements: &[Statement]) -> String {
    let listed = statements.iter().map(|statement| {
        let mut members = vec![
            ("Sid", Node::of(statement.sid)),
            ("Effect", Node::of("Allow")),
            ("Action", Node::list(statement.actions.iter().map(|action| Node::of(action)))),
            ("Resource", Node::list(statement.resources.iter().map(|resource| Node::of(resource)))),
        ];
        if let Some((operator, key, values)) = &statement.condition {
            let values = Node::list(values.iter().map(|value| Node::of(value)));
            members.push(("Condition", Node::map([(*operator, Node::map([(*key, values)]))])));
        }
        Node::map(members)
    });
    tree::pretty(Node::map([("Version", Node::of("2012-10-17")), ("Statement", Node::list(listed))]))
}

#[cfg(test)]
mod tests;

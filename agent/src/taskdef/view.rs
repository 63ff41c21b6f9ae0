//! Task definitions to be read: by the API's names, whether they stand in a file for the API or in a template.
//!
//! Promises: a value that a template computes (`Ref`, `Fn::Sub`, ..) is there, but has no text and no number.
//! Never: changes anything; fails for a member of another type than the API wants.

use super::tree::{Node, truth};

/// How members are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `containerDefinitions`: the API, the command line, Terraform.
    Api,
    /// `ContainerDefinitions`: CloudFormation.
    Template,
}

impl Case {
    /// The member that the API calls `key`.
    pub fn key(self, key: &str) -> String {
        match (self, key) {
            (Self::Api, _) => key.to_owned(),
            (Self::Template, "efsVolumeConfiguration") => "EFSVolumeConfiguration".to_owned(),
            (Self::Template, _) => {
                let mut letters = key.chars();
                letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
            }
        }
    }
}

/// A value in a task definition.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The value itself.
    pub node: &'a Node,
    case: Case,
}

impl<'a> Scope<'a> {
    /// A value in a document whose members are called like that.
    pub fn new(node: &'a Node, case: Case) -> Self {
        Self { node, case }
    }

    /// A member, by the name that the API has for it.
    pub fn get(self, key: &str) -> Option<Self> {
        self.raw(&self.case.key(key))
    }

    /// A member of a map whose names are the user's.
    pub fn raw(self, key: &str) -> Option<Self> {
        Some(Self { node: self.node.object()?.get(key)?, case: self.case })
    }

    /// Its text.
    pub fn text(self) -> Option<String> {
        self.node.text()
    }

    /// The text of a member.
    pub fn text_of(self, key: &str) -> Option<String> {
        self.get(key)?.text()
    }

    /// Its number; templates write numbers as texts, too.
    pub fn number(self) -> Option<i64> {
        match self.node {
            Node::Bare(raw) => raw.parse().ok(),
            Node::Text(_) => self.text()?.trim().parse().ok(),
            Node::Object(_) | Node::Array(_) => None,
        }
    }

    /// The number of a member.
    pub fn number_of(self, key: &str) -> Option<i64> {
        self.get(key)?.number()
    }

    /// True or false.
    pub fn truth(self) -> Option<bool> {
        match self.node {
            Node::Bare(raw) => truth(raw),
            Node::Text(_) => self.text()?.parse().ok(),
            Node::Object(_) | Node::Array(_) => None,
        }
    }

    /// True or false in a member.
    pub fn truth_of(self, key: &str) -> Option<bool> {
        self.get(key)?.truth()
    }

    /// Its elements; none if it is no list.
    pub fn items(self) -> impl Iterator<Item = Self> {
        self.node.array().into_iter().flat_map(|array| array.values()).map(move |node| Self { node, case: self.case })
    }

    /// The elements of a member.
    pub fn items_of(self, key: &str) -> impl Iterator<Item = Self> {
        self.get(key).into_iter().flat_map(Self::items)
    }

    /// Names and values; none if it is no object.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        let members = self.node.object().into_iter().flat_map(|object| object.members());
        members.map(move |(name, node)| (name, Self { node, case: self.case }))
    }

    /// True for what a template computes when it is deployed.
    pub fn is_computed(self) -> bool {
        let mut members = self.members();
        let (Some((name, _)), None) = (members.next(), members.next()) else { return false };
        self.case == Case::Template && (name == "Ref" || name == "Condition" || name.starts_with("Fn::"))
    }

    /// How members are called here.
    pub fn case(self) -> Case {
        self.case
    }
}

/// A task definition, or a list of container definitions that stands for one.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a>(pub Scope<'a>);

impl<'a> Task<'a> {
    /// The containers, in their order.
    pub fn containers(self) -> Vec<Container<'a>> {
        if self.is_list() {
            return self.0.items().map(Container).collect();
        }
        self.0.items_of("containerDefinitions").map(Container).collect()
    }

    /// True if there are container definitions only.
    pub fn is_list(self) -> bool {
        self.0.node.array().is_some()
    }

    /// The container of that name.
    pub fn container(self, name: &str) -> Option<Container<'a>> {
        self.containers().into_iter().find(|container| container.name().as_deref() == Some(name))
    }

    /// True if it may run on Fargate.
    pub fn is_fargate(self) -> bool {
        self.runs_on("FARGATE")
    }

    /// True if it names that kind of capacity.
    pub fn runs_on(self, kind: &str) -> bool {
        self.0.items_of("requiresCompatibilities").any(|item| item.text().as_deref() == Some(kind))
    }

    /// The network mode; `None` if the template computes it, or if it is not here to be seen.
    pub fn network_mode(self) -> Option<String> {
        match self.0.get("networkMode") {
            Some(mode) => mode.text(),
            None if self.is_list() => None,
            None => Some("bridge".to_owned()),
        }
    }

    /// True if all containers have one loopback address, as far as can be told.
    pub fn shares_loopback(self) -> bool {
        match self.network_mode().as_deref() {
            Some("bridge" | "none" | "default") => self.is_fargate(),
            Some(_) | None => true,
        }
    }
}

/// A container definition.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a>(pub Scope<'a>);

impl<'a> Container<'a> {
    /// Its name.
    pub fn name(self) -> Option<String> {
        self.0.text_of("name")
    }

    /// Its image, as far as it is written: a template's `Fn::Sub`, and the last text of its `Fn::Join`, count.
    pub fn image(self) -> Option<String> {
        let image = self.0.get("image")?;
        if let Some(text) = image.text() {
            return Some(text);
        }
        if let Some(sub) = image.raw("Fn::Sub") {
            return sub.text().or_else(|| sub.items().next()?.text());
        }
        let parts = image.raw("Fn::Join")?.items().nth(1)?;
        let texts: Vec<String> = parts.items().map(|part| part.text().unwrap_or_default()).collect();
        Some(texts.concat())
    }

    /// The last part of the image's name: `pillion` for `123.dkr.ecr.eu-west-1.amazonaws.com/team/pillion:1@sha256:..`.
    pub fn image_name(self) -> Option<String> {
        let image = self.image()?;
        let without_digest = image.split('@').next().unwrap_or_default();
        let last = without_digest.rsplit('/').next().unwrap_or_default();
        Some(last.split(':').next().unwrap_or_default().to_owned())
    }

    /// True unless it says otherwise.
    pub fn is_essential(self) -> bool {
        self.0.truth_of("essential").unwrap_or(true)
    }

    /// True for the container that FireLens sends logs to.
    pub fn is_router(self) -> bool {
        self.0.get("firelensConfiguration").is_some()
    }

    /// The log driver.
    pub fn log_driver(self) -> Option<String> {
        self.0.get("logConfiguration")?.text_of("logDriver")
    }

    /// The log driver's options.
    pub fn log_options(self) -> Option<Scope<'a>> {
        self.0.get("logConfiguration")?.get("options")
    }

    /// A log option that is written out.
    pub fn log_option(self, name: &str) -> Option<String> {
        self.log_options()?.raw(name)?.text()
    }

    /// Variables and their values.
    pub fn environment(self) -> impl Iterator<Item = (String, Scope<'a>)> {
        self.0.items_of("environment").filter_map(|pair| Some((pair.text_of("name")?, pair.get("value")?)))
    }

    /// True if a variable is set, be it by a secret.
    pub fn has_variable(self, name: &str) -> bool {
        let named = |pair: Scope<'_>| pair.text_of("name").as_deref() == Some(name);
        self.0.items_of("environment").any(named) || self.0.items_of("secrets").any(named)
    }

    /// A variable that is written out.
    pub fn variable(self, name: &str) -> Option<String> {
        self.environment().find(|(known, _)| known == name)?.1.text()
    }

    /// Whom it waits for, and for what.
    pub fn depends_on(self) -> impl Iterator<Item = (String, Option<String>)> {
        self.0
            .items_of("dependsOn")
            .filter_map(|item| Some((item.text_of("containerName")?, item.text_of("condition"))))
    }

    /// MiB that the scheduler keeps for it.
    pub fn reserved(self) -> Option<i64> {
        self.0.number_of("memoryReservation").or_else(|| self.0.number_of("memory"))
    }

    /// A label.
    pub fn label(self, name: &str) -> Option<String> {
        self.0.get("dockerLabels")?.raw(name)?.text()
    }
}

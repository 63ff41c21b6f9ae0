//! Where in a document task definitions stand.
//!
//! Promises: knows the input of `RegisterTaskDefinition`, the answer of `DescribeTaskDefinition`, a list of container
//! definitions (Terraform's), and templates of CloudFormation, which CDK writes, with any number of them.
//! Never: guesses: what looks like none of these has no task definition.

use super::{
    tree::Node,
    view::{Case, Scope, Task},
};

/// One task definition in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Names of members from the root to it.
    pub path: Vec<String>,
    /// How members are called there.
    pub case: Case,
    /// What stands before places in messages; empty for a document that is one task definition.
    pub title: String,
}

/// All task definitions of a document, in their order.
pub fn places(root: &Node) -> Vec<Place> {
    let here = |case| vec![Place { path: Vec::new(), case, title: String::new() }];
    if let Some(list) = root.array() {
        let is_container = |node: &Node| node.object().is_some_and(|object| object.get("image").is_some());
        return if !list.is_empty() && list.values().all(is_container) { here(Case::Api) } else { Vec::new() };
    }
    let Some(object) = root.object() else { return Vec::new() };
    if object.get("containerDefinitions").is_some() {
        return here(Case::Api);
    }
    if object.get("ContainerDefinitions").is_some() {
        return here(Case::Template);
    }
    if object.get("taskDefinition").and_then(Node::object).is_some_and(|it| it.get("containerDefinitions").is_some()) {
        let path = vec!["taskDefinition".to_owned()];
        return vec![Place { path, case: Case::Api, title: String::new() }];
    }
    let resources = object.get("Resources").and_then(Node::object);
    resources.into_iter().flat_map(|resources| resources.members()).filter_map(of_template).collect()
}

fn of_template((name, resource): (&str, &Node)) -> Option<Place> {
    let resource = resource.object()?;
    let is_task = resource.get("Type")?.text()? == "AWS::ECS::TaskDefinition";
    let has_properties = resource.get("Properties").and_then(Node::object).is_some();
    let path = ["Resources", name, "Properties"].map(str::to_owned).to_vec();
    (is_task && has_properties).then(|| Place { path, case: Case::Template, title: format!("{name}.") })
}

impl Place {
    /// The task definition.
    pub fn task<'a>(&self, root: &'a Node) -> Option<Task<'a>> {
        let node = self.path.iter().try_fold(root, |node, name| node.object()?.get(name))?;
        Some(Task(Scope::new(node, self.case)))
    }

    /// The task definition, to be changed.
    pub fn node_mut<'a>(&self, root: &'a mut Node) -> Option<&'a mut Node> {
        self.path.iter().try_fold(root, |node, name| node.object_mut()?.get_mut(name))
    }
}

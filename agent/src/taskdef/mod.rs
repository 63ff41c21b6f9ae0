//! Task definitions: what stands in one, what is wrong with it, what it lets pillion do, and how pillion gets into it.
//!
//! Promises: pure functions from text to text and findings; a document that is changed keeps the bytes of what is not; what was put
//! in can be taken out again ([`inject::remove`]), which gives back the bytes that were there.
//! Never: asks AWS; shows the value of a variable that looks like a secret.
//!
//! ```text
//! JSON or YAML --tree--> nodes --find--> task definitions --view--> lint, iam
//!                                               '--edit--> inject, remove --tree--> JSON or YAML
//! ```

pub mod diff;
pub mod edit;
pub mod fargate;
pub mod find;
pub mod firelens;
pub mod iam;
pub mod inject;
pub mod lint;
pub mod tree;
pub mod view;

use crate::problem::Problem;
use tree::{Document, Syntax};

/// Reads a document and finds its task definitions. Where it has none, says what would be one.
pub fn read(bytes: &[u8]) -> Result<(Document, Vec<find::Place>), Problem> {
    let syntax = Syntax::of(bytes);
    let document = syntax.parse(bytes).map_err(|mistake| {
        let hint = match syntax {
            Syntax::Json => "",
            Syntax::Yaml => "or make JSON of it, for example with `cdk synth --json` or cfn-flip",
        };
        Problem::error(format!("line {}", mistake.line), format!("column {}: {}", mistake.column, mistake.what), hint)
    })?;
    let places = find::places(&document.root);
    if places.is_empty() {
        let hint = "give the input of RegisterTaskDefinition, the answer of DescribeTaskDefinition, a list of container \
                    definitions, or a template of CloudFormation";
        return Err(Problem::error("the document", "has no task definition", hint));
    }
    Ok((document, places))
}

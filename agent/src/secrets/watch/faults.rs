//! What is wrong with answers that came, and yet are none.
//!
//! Promises: names the secret and the stage.
//! Never: holds a value.

use crate::secrets::source::{SourceFault, SourceFaultKind};

pub(super) fn no_version(secret: &str, stage: &str) -> SourceFault {
    let what = format!("`{secret}` has no version with the stage `{stage}`; has it a value yet?");
    SourceFault { kind: SourceFaultKind::Missing, what, code: None, status: None }
}

pub(super) fn another_version(secret: &str) -> SourceFault {
    let what = format!("`{secret}`: another version came than the one that was asked for");
    SourceFault { kind: SourceFaultKind::Transient, what, code: None, status: None }
}

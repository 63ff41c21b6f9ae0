//! What a fault of AWS means for a batch that was to be delivered.
//!
//! Promises: nothing is given up for a fault that may pass; what the service will never take is looked for in halves.
//! Never: looks at the code of a fault; [`classify`](super::error::classify) did.

use super::{Fault, FaultKind};
use crate::deliver::{Answer, Cause};

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        let cause = match fault.kind {
            FaultKind::Throttled => Cause::Throttled,
            FaultKind::Transient => Cause::Unavailable,
            FaultKind::Unreachable => Cause::Unreachable,
            FaultKind::Ambiguous => Cause::Ambiguous,
            FaultKind::Credentials => Cause::Credentials,
            FaultKind::Denied => Cause::Denied,
            FaultKind::NotFound => Cause::Missing,
            // `DataAlreadyAcceptedException`: an earlier attempt whose answer we did not see was taken.
            FaultKind::AlreadyExists => return Self::Delivered,
            FaultKind::TooLarge | FaultKind::Invalid => return Self::Divide { detail: fault.to_string() },
        };
        Self::Again { cause, detail: fault.to_string(), after: fault.retry_after }
    }
}

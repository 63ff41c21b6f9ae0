//! Who must know a value before any app can: whoever keeps it out of places where it must not be, such as logs.
//!
//! The job says what is held before a file shows it, and before the local API answers with it, and waits. What becomes of that
//! is not its concern: `agent.rs` connects the two.
//!
//! Promises: a value is told before it is shown to anybody.
//! Never: knows what a log is.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    place::Place,
    render,
    settings::{Mask, Secrets},
    value::{Held, Value},
};

/// Ends when what was told is hidden.
pub type Hiding = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Hides values.
pub trait Hide: Send + Sync {
    /// These versions can be shown by files now; others may be in use for a while yet.
    fn held(&self, held: Vec<Hidden>) -> Hiding;

    /// These can be in use too, as long as we run.
    fn also(&self, more: Vec<Hidden>) -> Hiding;
}

/// Something to hide.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// The secret's name, as in the configuration.
    pub name: String,
    /// What the value is called where it stands: the secret's name, or that of a file.
    pub called: String,
    /// Which version it is.
    pub version: String,
    /// The value.
    pub value: Value,
    /// What the user wants.
    pub mask: Mask,
}

/// Hides nothing: where there are no logs.
#[derive(Debug)]
pub struct Nobody;

impl Hide for Nobody {
    fn held(&self, _: Vec<Hidden>) -> Hiding {
        Box::pin(std::future::ready(()))
    }

    fn also(&self, _: Vec<Hidden>) -> Hiding {
        Box::pin(std::future::ready(()))
    }
}

/// Who hides, shared.
pub type Hider = Arc<dyn Hide>;

/// Every version of `held`, which is of the secret `name`.
pub(super) fn versions(name: &str, held: &Held, mask: Mask) -> Vec<Hidden> {
    let all = [Some(&held.current), held.previous.as_ref(), held.pending.as_ref()];
    let hidden = all.into_iter().flatten().map(|version| Hidden {
        name: name.to_owned(),
        called: name.to_owned(),
        version: version.id.clone(),
        value: version.content.value().clone(),
        mask,
    });
    hidden.collect()
}

/// Hides what an earlier process published: an app may have it.
pub(super) async fn what_was_there(settings: &Arc<Secrets>, place: &Arc<Mutex<Place>>, hider: &Hider) {
    let (place, settings) = (Arc::clone(place), Arc::clone(settings));
    let read = tokio::task::spawn_blocking(move || {
        let place = place.lock().unwrap_or_else(PoisonError::into_inner);
        was_there(&settings, &place)
    });
    hider.also(read.await.unwrap_or_default()).await;
}

/// The files on the volume, as something to hide.
fn was_there(settings: &Secrets, place: &Place) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    for planned in render::planned(settings) {
        let Some(item) = settings.items.iter().find(|item| planned.of.contains(&item.name)) else { continue };
        let Some(value) = place.shown(&planned.path) else { continue };
        let file = planned.path.rsplit('/').next().unwrap_or_default();
        let called = file.split('.').next().unwrap_or_default().to_owned();
        let version = format!("file {}", planned.path);
        hidden.push(Hidden { name: item.name.clone(), called, version, value, mask: item.mask });
    }
    hidden
}

//! Connects the two jobs: what the secrets job holds is what is masked in logs.
//!
//! Promises: who says what it holds waits until records that are read from then on are masked; one set of patterns is built at a
//! time, on a thread that serves nobody else.
//! Never: decides what is masked, or keeps a value that the keeper has let go.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::error;

use crate::{
    logs::mask::{Keeper, Mask, Masks, Secret},
    secrets::{
        hide::{Hidden, Hide, Hiding},
        settings,
    },
};

/// Hides in logs what it is told.
pub(super) struct InLogs {
    masks: Masks,
    kept: Arc<Mutex<Kept>>,
    /// Whose turn it is to build.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Kept {
    keeper: Keeper,
    /// How often it changed, and how often it had changed when it was built.
    changes: u64,
    built: u64,
}

impl InLogs {
    pub(super) fn new(masks: &Masks) -> Self {
        Self { masks: masks.clone(), kept: Arc::default(), turn: Arc::default() }
    }

    fn hide(&self, change: impl FnOnce(&mut Keeper) -> bool + Send + 'static) -> Hiding {
        let (masks, kept, turn) = (self.masks.clone(), Arc::clone(&self.kept), Arc::clone(&self.turn));
        Box::pin(async move {
            let _turn = turn.lock().await;
            let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (wanted, all) = {
                let mut kept = lock();
                kept.changes += u64::from(change(&mut kept.keeper));
                if kept.changes == kept.built {
                    return;
                }
                (kept.changes, kept.keeper.all())
            };
            // Also if nobody waits for it any more.
            match tokio::task::spawn_blocking(move || masks.replace(&all)).await {
                Ok(()) => lock().built = wanted,
                Err(_) => error!("values of secrets could not be made ready to be masked; this is a bug in pillion"),
            }
        })
    }
}

impl Hide for InLogs {
    fn held(&self, held: Vec<Hidden>) -> Hiding {
        let held = held.into_iter().map(secret).collect();
        self.hide(move |keeper| keeper.hold(held, Instant::now()))
    }

    fn also(&self, more: Vec<Hidden>) -> Hiding {
        let more = more.into_iter().map(secret).collect();
        self.hide(move |keeper| keeper.also(more, Instant::now()))
    }
}

fn secret(hidden: Hidden) -> Secret {
    let mask = match hidden.mask {
        settings::Mask::Auto => Mask::Auto,
        settings::Mask::Always => Mask::Always,
        settings::Mask::Never => Mask::Never,
    };
    let value = hidden.value.shared();
    Secret { name: hidden.name.into(), called: hidden.called, version: hidden.version, value, mask }
}

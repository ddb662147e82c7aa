//! The ECS control plane: what it knows, what it works with, and all that goes on in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pauses::Pauses;
use super::settings::Settings;
use crate::ecs::model::names::Names;
use crate::ecs::model::state::State;
use crate::modes::Modes;

/// The ECS control plane. Clones share one state.
#[derive(Clone, Debug)]
pub struct Ecs {
    pub(in crate::ecs) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(in crate::ecs) struct Inner {
    pub(in crate::ecs) settings: Settings,
    pub(in crate::ecs) names: Names,
    pub(in crate::ecs) state: Mutex<State>,
    pub(in crate::ecs) pauses: Pauses,
    modes: Mutex<Modes>,
    /// All lives of tasks and all loops of services.
    pub(in crate::ecs) running: TaskTracker,
    /// Ends them at once.
    pub(in crate::ecs) killed: CancellationToken,
}

impl Ecs {
    pub fn new(settings: Settings) -> Self {
        Self::with_state(settings, State::default())
    }

    /// A copy of everything as it is at this moment, for reading: nothing in it goes on.
    pub(crate) fn as_it_is_now(&self) -> Self {
        Self::with_state(self.inner.settings.clone(), self.lock().clone())
    }

    fn with_state(settings: Settings, state: State) -> Self {
        let names = Names {
            account_id: settings.account_id.clone(),
            region: settings.region.clone(),
        };
        Self {
            inner: Arc::new(Inner {
                settings,
                names,
                state: Mutex::new(state),
                pauses: Pauses::default(),
                modes: Mutex::default(),
                running: TaskTracker::new(),
                killed: CancellationToken::new(),
            }),
        }
    }

    /// What it does where AWS's documentation leaves that open.
    pub(crate) fn modes(&self) -> Modes {
        *self
            .inner
            .modes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it do that from now on.
    pub(crate) fn set_modes(&self, modes: Modes) {
        *self
            .inner
            .modes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = modes;
    }

    pub(in crate::ecs) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every service and kills every process of every task.
    pub async fn shut_down(&self) {
        self.inner.killed.cancel();
        self.inner.running.close();
        // Nothing of it blocks for long; the limit keeps a mistake here from hanging the end.
        let limit = Duration::from_secs(5);
        let ended = tokio::time::timeout(limit, self.inner.running.wait()).await;
        if ended.is_err() {
            tracing::error!("some tasks did not end in time");
        }
        let told = tokio::time::timeout(limit, self.inner.settings.event_bus.flush()).await;
        if told.is_err() {
            tracing::error!("some events were not delivered in time");
        }
    }
}

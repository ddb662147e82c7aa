//! The pauses of deployments that wait for somebody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::ecs::model::hooks::Action;

/// The pauses that wait for somebody, by hook id.
#[derive(Debug, Default)]
pub(in crate::ecs) struct Pauses(Mutex<HashMap<String, oneshot::Sender<Action>>>);

impl Pauses {
    fn change<T>(
        &self,
        change: impl FnOnce(&mut HashMap<String, oneshot::Sender<Action>>) -> T,
    ) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends a pause; says whether it still waited.
    pub(in crate::ecs) fn end(&self, hook_id: &str, action: Action) -> bool {
        let waiting = self.change(|pauses| pauses.remove(hook_id));
        waiting.is_some_and(|waiting| waiting.send(action).is_ok())
    }
}

/// A pause that waits. Nobody can end it any more once this is dropped.
pub(in crate::ecs) struct Pause<'a> {
    pauses: &'a Pauses,
    hook_id: &'a str,
    action: oneshot::Receiver<Action>,
}

impl<'a> Pause<'a> {
    pub(in crate::ecs) fn begin(pauses: &'a Pauses, hook_id: &'a str) -> Self {
        let (sender, action) = oneshot::channel();
        pauses.change(|pauses| pauses.insert(hook_id.to_owned(), sender));
        Self {
            pauses,
            hook_id,
            action,
        }
    }

    pub(in crate::ecs) async fn ended(mut self) -> Result<(), String> {
        match (&mut self.action).await {
            Ok(Action::Continue) => Ok(()),
            _ => Err("a user chose to roll back".to_owned()),
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.pauses.change(|pauses| pauses.remove(self.hook_id));
    }
}

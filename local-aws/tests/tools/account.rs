//! The local AWS of all tests of this binary, which records the calls of ECS.

use std::path::{Path, PathBuf};

use local_aws::client::{LocalAws, StartOptions};
use local_aws::conformance::check_ecs_calls;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::{create_role, venv};

static RUNNING: OnceCell<(LocalAws, TempDir)> = OnceCell::const_new();

/// It ends when this process does, because its standard input then closes.
pub(crate) async fn shared() -> &'static LocalAws {
    let (running, _) = RUNNING
        .get_or_init(async || {
            let state = tempfile::tempdir().unwrap();
            let running = LocalAws::start(StartOptions {
                venv: venv(),
                state: state.path().to_owned(),
                speed: 200.0,
                binary: env!("CARGO_BIN_EXE_local-aws").into(),
                record_ecs: Some(calls(state.path())),
            });
            let running = running.await.unwrap();
            create_role(running.endpoint()).await;
            (running, state)
        })
        .await;
    running
}

fn calls(state: &Path) -> PathBuf {
    state.join("ecs-calls.jsonl")
}

/// Checks the calls of ECS that were made so far; says how many.
pub(crate) async fn check_calls() -> anyhow::Result<String> {
    match RUNNING.get() {
        Some((_, state)) => check_ecs_calls(&venv(), &calls(state.path())).await,
        None => Ok("no call of ECS was made".to_owned()),
    }
}

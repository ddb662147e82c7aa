//! Whether calls of ECS are as AWS's own model of its API says.

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Part of the source tree, like the glue of moto.
const CHECKER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/conformance/check_ecs_calls.py"
);

/// Checks the calls that a local AWS recorded
/// ([`record_ecs`](crate::client::StartOptions::record_ecs)); answers a sentence with their number.
///
/// # Errors
/// A call does not conform to the model, or there was none; all findings are listed.
pub async fn check_ecs_calls(venv: &Path, calls: &Path) -> anyhow::Result<String> {
    let output = Command::new(venv.join("bin/python"))
        .arg(CHECKER)
        .arg(calls)
        .output()
        .await
        .context("the checker cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "calls of ECS are not as its API model says:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said.trim_end().to_owned())
}

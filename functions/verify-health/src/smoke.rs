//! Whether the application answers at its own address.

use bluegreen_runtime::Web;
use std::time::Duration;
use tokio::time::sleep;

/// One answer of several is enough: a single request may meet a connection that is just closed.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);

/// A sentence where `url` does not answer a GET with 2xx.
pub(crate) async fn failing(web: &Web, url: &str) -> Option<String> {
    let mut problem = String::new();
    for attempt in 1..=TRIES {
        problem = match web.status(url, LIMIT).await {
            Ok(200..=299) => return None,
            Ok(status) => format!("it answers with status {status}"),
            Err(problem) => problem,
        };
        if attempt < TRIES {
            sleep(PAUSE).await;
        }
    }
    Some(format!(
        "The health check {url} failed {TRIES} times, at last because {problem}."
    ))
}

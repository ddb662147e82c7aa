use crate::{Call, Event, Waiting, Waits};
use bluegreen_contract::{InvalidInput, parse};
use bluegreen_runtime::AwsRequestFailed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// Answers a call of a function that waits.
///
/// - `awaited`: what the question waits for, e.g. the ARN of a task.
/// - `execution`: the ARN of the execution that asks.
/// - `told`: what an event is about, one of `awaited`; `None`: nothing that anybody waits for.
/// - `look`: the final answer, `None`: not yet; or a failure.
///
/// Asked, a failure is returned: the state fails with it. Told, an `AwsRequestFailed` is returned, for
/// which Lambda tells the function once more; with any other failure the state fails by itself, when
/// its next heartbeat has asked again.
///
/// # Errors
/// Those of `look`, and [`AwsRequestFailed`].
pub async fn drive<T, A, F>(
    waits: &Waits,
    call: Call<T>,
    awaited: impl Fn(&T) -> Vec<String>,
    execution: impl Fn(&T) -> &str,
    told: impl Fn(&Event) -> Option<String>,
    look: impl AsyncFn(&T) -> Result<Option<A>, F>,
) -> Result<(), F>
where
    T: Serialize + DeserializeOwned,
    A: Serialize,
    F: Display + From<AwsRequestFailed> + From<InvalidInput>,
    for<'a> &'a F: Into<&'static str>,
{
    match call {
        Call::Asked { token, asked } => {
            let waiting = waits
                .store(&awaited(&asked), execution(&asked), &token, &asked)
                .await?;
            match look(&asked).await {
                Ok(Some(answer)) => {
                    waits.succeed(&waiting, &answer).await?;
                    Ok(())
                }
                Ok(None) => Ok(()),
                // The state has failed with it, and its token with the state.
                Err(failure) => {
                    waits.forget(&waiting).await;
                    Err(failure)
                }
            }
        }
        Call::Told(event) => match told(&event) {
            Some(awaited) => tell(waits, &awaited, look).await,
            None => {
                tracing::debug!(event.detail_type, "the event is about nothing to wait for");
                Ok(())
            }
        },
    }
}

/// Looks again for everyone who waits for `awaited`, and answers whose wait is over. One whose look
/// fails keeps nobody else waiting.
///
/// # Errors
/// The first `AwsRequestFailed`, of `look` or of an answer.
pub async fn tell<T, A, F>(
    waits: &Waits,
    awaited: &str,
    look: impl AsyncFn(&T) -> Result<Option<A>, F>,
) -> Result<(), F>
where
    T: DeserializeOwned,
    A: Serialize,
    F: Display + From<AwsRequestFailed> + From<InvalidInput>,
    for<'a> &'a F: Into<&'static str>,
{
    let everyone = waits.waiting_for(awaited).await?;
    if everyone.is_empty() {
        tracing::debug!(awaited, "nobody waits");
    }
    let mut first_failure = Ok(());
    for execution in everyone {
        // One by one: the look for one of them may answer another.
        let told = match waits.of(&execution).await {
            Ok(Some(waiting)) => tell_one(waits, &waiting, &look).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure.into()),
        };
        first_failure = first_failure.and(told);
    }
    first_failure
}

async fn tell_one<T, A, F>(
    waits: &Waits,
    waiting: &Waiting,
    look: &impl AsyncFn(&T) -> Result<Option<A>, F>,
) -> Result<(), F>
where
    T: DeserializeOwned,
    A: Serialize,
    F: Display + From<AwsRequestFailed> + From<InvalidInput>,
    for<'a> &'a F: Into<&'static str>,
{
    let seen = match parse(waiting.asked.clone()) {
        Ok(asked) => look(&asked).await,
        Err(problem) => Err(problem.into()),
    };
    match seen {
        Ok(None) => {}
        Ok(Some(answer)) => {
            waits.succeed(waiting, &answer).await?;
        }
        Err(failure) => match (&failure).into() {
            "AwsRequestFailed" => return Err(failure),
            name => tracing::warn!(
                error = name,
                %failure,
                waiting.execution,
                "the state will fail with this when it asks again"
            ),
        },
    }
    Ok(())
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;

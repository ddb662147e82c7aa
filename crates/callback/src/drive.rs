use crate::{Call, Event, Waiting, Waits};
use bluegreen_contract::{InvalidInput, parse};
use bluegreen_runtime::AwsRequestFailed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;

/// Answers a call of a function that waits.
///
/// - `awaited`: what the question waits for, e.g. the ARN of a task.
/// - `execution`: the ARN of the execution that asks.
/// - `told`: what an event is about, one of `awaited`; `None`: nothing that anybody waits for.
/// - `look`: the final answer, `None`: not yet; or a failure. The source of one that is a request's is
///   the [`AwsRequestFailed`].
///
/// Asked, a failure is returned: the state fails with it. But a request that AWS may answer later
/// fails nothing: the state asks again when its heartbeat is over, however often that happens in a
/// wait of days. Told, an `AwsRequestFailed` is returned, for which Lambda tells the function once
/// more; with any other failure the state fails by itself, when it asks again.
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
    F: Error + From<AwsRequestFailed> + From<InvalidInput> + 'static,
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
                Err(failure) if request(&failure).is_some_and(|request| !request.refused) => {
                    tracing::warn!(%failure, "the state asks again after its heartbeat");
                    Ok(())
                }
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
    F: Error + From<AwsRequestFailed> + From<InvalidInput> + 'static,
{
    let everyone = waits.waiting_for(awaited).await?;
    if everyone.is_empty() {
        tracing::debug!(awaited, "nobody waits");
    }
    let mut first_failure = Ok(());
    for execution in everyone {
        // One by one: the look for one of them may answer another.
        let told = match waits.begin_to_look(&execution).await {
            Ok(Some(waiting)) => tell_one(waits, &waiting, &look).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure.into()),
        };
        first_failure = first_failure.and(told);
    }
    first_failure
}

/// Looks for one that waits. Events come in swarms, one for each service of a stack: while one call
/// looks, the others only leave word, and it looks once more.
async fn tell_one<T, A, F>(
    waits: &Waits,
    waiting: &Waiting,
    look: &impl AsyncFn(&T) -> Result<Option<A>, F>,
) -> Result<(), F>
where
    T: DeserializeOwned,
    A: Serialize,
    F: Error + From<AwsRequestFailed> + From<InvalidInput> + 'static,
{
    let mut events = 1;
    loop {
        match look_for(waits, waiting, look).await {
            Ok(true) => return Ok(()),
            Ok(false) => match waits.stop_looking(waiting, Some(events)).await? {
                None => return Ok(()),
                Some(more) => events = more,
            },
            // This event comes again, and leads to a look for all of them.
            Err(failure) => {
                waits.stop_looking(waiting, None).await?;
                return Err(failure);
            }
        }
    }
}

/// Whether the wait is over.
async fn look_for<T, A, F>(
    waits: &Waits,
    waiting: &Waiting,
    look: &impl AsyncFn(&T) -> Result<Option<A>, F>,
) -> Result<bool, F>
where
    T: DeserializeOwned,
    A: Serialize,
    F: Error + From<AwsRequestFailed> + From<InvalidInput> + 'static,
{
    let seen = match parse(waiting.asked.clone()) {
        Ok(asked) => look(&asked).await,
        Err(problem) => Err(problem.into()),
    };
    match seen {
        Ok(None) => Ok(false),
        Ok(Some(answer)) => {
            waits.succeed(waiting, &answer).await?;
            Ok(true)
        }
        Err(failure) if request(&failure).is_some() => Err(failure),
        Err(failure) => {
            tracing::warn!(
                %failure,
                waiting.execution,
                "the state will fail with this when it asks again"
            );
            Ok(false)
        }
    }
}

/// The request that failed, where that is what the failure is about.
fn request<'a>(failure: &'a (dyn Error + 'static)) -> Option<&'a AwsRequestFailed> {
    failure.source()?.downcast_ref()
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;

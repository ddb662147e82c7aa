use crate::failure::Failure;
use crate::parameter;
use crate::serving::Served;
use bluegreen_contract::{Current, RecordCurrentInput, UnwrittenImage, parse};
use bluegreen_release::Table;
use bluegreen_runtime::LambdaCall;
use serde_json::Value;

/// Tells the table what serves, which proves that the turn is this release's, and only then writes
/// the stack's image parameter: the image of no later release is overwritten. `now` in milliseconds
/// since 1970.
pub(crate) async fn handle(
    table: &Table,
    ssm: &aws_sdk_ssm::Client,
    event: Value,
    call: &LambdaCall,
    now: i64,
) -> Result<Current, Failure> {
    let input: RecordCurrentInput = parse(event)?;
    let served = Served::of(&input)?;
    let services = served.services();
    let release = &input.plan.release;
    table
        .serves(
            release,
            &input.execution,
            &served.told(&services),
            call,
            now,
        )
        .await?;
    tracing::info!(?served, "what serves is recorded");
    let followed = follow(table, ssm, &input, &served, now).await;
    table.finish(&release.stack, call).await;
    followed
}

/// What is done once the table knows what serves.
async fn follow(
    table: &Table,
    ssm: &aws_sdk_ssm::Client,
    input: &RecordCurrentInput,
    served: &Served<'_>,
    now: i64,
) -> Result<Current, Failure> {
    if let Err(unwritten) = write_image(ssm, input, served).await {
        // An earlier image may not survive a command, and an update of the stack could bring one back.
        return Ok(Current {
            post_deploy: None,
            unwritten: Some(unwritten),
        });
    }
    if let Some(at) = served.contract_due(input, now) {
        let release = &input.plan.release;
        table.contract_due(release, &input.execution, at).await?;
    }
    Ok(Current {
        post_deploy: served.post_deploy(input),
        unwritten: None,
    })
}

/// Only where the stack's template takes the image of that repository from a parameter that is the
/// pipeline's to write.
async fn write_image(
    ssm: &aws_sdk_ssm::Client,
    input: &RecordCurrentInput,
    served: &Served<'_>,
) -> Result<(), UnwrittenImage> {
    let Some(serving) = served.image(input) else {
        return Ok(());
    };
    match input.plan.image_parameters.get(&serving.repository) {
        Some(name) => parameter::write(ssm, name, serving).await,
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

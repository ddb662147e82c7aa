//! The pipeline of an account and region, as its stack tells of it.

use anyhow::{Context, Result};
use aws_sdk_sfn::Client;
use bluegreen_contract::{ExecutionInput, started_by};
use bluegreen_release::Table;
use bluegreen_trigger::StateMachine;

use crate::names::PIPELINE;
use crate::trouble::asked;
use crate::world::World;

/// Where releases are begun and recorded.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The records of the releases, and who has the turn.
    pub table: Table,
    /// Step Functions.
    pub sfn: Client,
    state_machine: StateMachine,
}

impl Pipeline {
    /// The pipeline of the world.
    ///
    /// # Errors
    /// There is none, it keeps no records, or CloudFormation does not answer.
    pub async fn find(world: &World) -> Result<Self> {
        let stack = world.stacks().find(PIPELINE).await?;
        let region = world.region();
        let stack = stack.with_context(|| {
            format!(
                "There is no pipeline in region {region}, which would be the stack {PIPELINE}. Is it another \
                 region (AWS_REGION)? bluegreen up makes one."
            )
        })?;
        let output = |name: &str| {
            let mut outputs = stack.outputs().iter();
            let output = outputs.find(|output| output.output_key() == Some(name));
            let value = output.and_then(|output| output.output_value());
            value.map(str::to_owned).with_context(|| {
                let status = stack
                    .stack_status()
                    .map_or("", |status| status.as_str());
                format!(
                    "The stack {PIPELINE} in region {region} has no output {name}: it is {status}, or older \
                     than this. Update it with bluegreen up."
                )
            })
        };
        let dynamodb = aws_sdk_dynamodb::Client::new(&world.config);
        Ok(Self {
            table: Table::new(dynamodb, output("ReleasesTableName")?),
            sfn: Client::new(&world.config),
            state_machine: StateMachine::parse(&output("StateMachineArn")?)?,
        })
    }

    /// Begins an execution and answers its ARN. `label` is for the reader of its name.
    ///
    /// # Errors
    /// The input is not as it has to be, or Step Functions refuses.
    pub async fn start(&self, input: &ExecutionInput, label: &str) -> Result<String> {
        input.validate()?;
        let now = jiff::Timestamp::now().to_string();
        let who = input.started_by.as_deref().unwrap_or_default();
        let name = bluegreen_trigger::name(&input.stack, label, &[&now, who]);
        let started = bluegreen_trigger::start(&self.sfn, &self.state_machine, &name, input);
        started.await.map_err(asked)
    }
}

/// Who asks, for the record of a release: the last parts of an ARN such as
/// `arn:aws:sts::123456789012:assumed-role/Admin/alice`.
///
/// # Errors
/// The credentials are missing or not valid.
pub async fn asker(world: &World) -> Result<String> {
    let arn = world.identity().await?;
    let name = arn.rsplit(':').next().unwrap_or(&arn);
    Ok(started_by(name))
}

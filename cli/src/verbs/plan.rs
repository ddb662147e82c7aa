//! `bluegreen plan`: what a release would do. It asks the function that plans releases, and changes nothing.

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::primitives::Blob;
use bluegreen_contract::{Action, Ending, Execution, Plan, PlanReleaseInput};
use bluegreen_release::{Record, Turn, verdict};
use clap::Args;
use serde_json::{Value, json};

use super::deploy::Image;
use crate::exit::Exit;
use crate::names::{PIPELINE, StackName};
use crate::pipeline::Pipeline;
use crate::services::name_of;
use crate::status::newest;
use crate::tree::{Node, Tone, print};
use crate::trouble::{asked, failed};
use crate::world::World;

/// The usual time of a release is that of so many before.
const USUAL: usize = 20;

/// Of which image.
#[derive(Args, Clone, Debug)]
pub struct ShowPlan {
    /// The name of the stack, whoever made it.
    pub stack: StackName,
    #[command(flatten)]
    pub image: Image,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows it.
///
/// # Errors
/// There is no pipeline, the release would be refused, or AWS does not answer.
pub async fn run(world: &World, wanted: &ShowPlan) -> Result<Exit> {
    let pipeline = Pipeline::find(world).await?;
    let input = wanted.image.input(&wanted.stack);
    input.validate()?;
    let stack = wanted.stack.as_str();
    let plan = ask(world, &json!(input)).await?;
    let turn = pipeline.table.turn(stack).await.map_err(asked)?;
    let records = newest(&pipeline, stack, USUAL).await?;
    let usual = usual_seconds(&records);
    if wanted.json {
        let told = json!({"plan": plan, "usualSeconds": usual});
        world.say.line(serde_json::to_string_pretty(&told)?);
    } else {
        print(&tree(&plan, &turn, usual))?;
    }
    Ok(Exit::Done)
}

/// The plan that the pipeline itself would make before its turn.
async fn ask(world: &World, request: &Value) -> Result<Plan> {
    let function = world
        .stacks()
        .resource(PIPELINE, "PlanReleaseFunction")
        .await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let asked = PlanReleaseInput {
        request: request.clone(),
        execution: Execution {
            // Nobody's: the name is what a person reads in the plan's release.
            id: format!(
                "arn:aws:states:{}:0:execution:bluegreen:plan",
                world.region()
            ),
            redrives: 0,
        },
        started_at: bluegreen_release::rfc3339(now),
        turn: None,
        plan: None,
    };
    let answer = aws_sdk_lambda::Client::new(&world.config)
        .invoke()
        .function_name(&function)
        .payload(Blob::new(serde_json::to_vec(&asked)?))
        .send()
        .await
        .map_err(|error| failed(error, "The function that plans releases can not be asked"))?;
    let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
    let payload: Value = serde_json::from_slice(payload).context("the plan is no JSON")?;
    if answer.function_error().is_some() {
        let text = |name: &str| payload[name].as_str().unwrap_or_default();
        bail!(
            "It would be refused as {}: {}",
            text("errorType"),
            text("errorMessage")
        );
    }
    serde_json::from_value(payload)
        .context("the pipeline is of another version than this bluegreen")
}

/// The median of the whole releases that have succeeded.
fn usual_seconds(records: &[Record]) -> Option<f64> {
    let succeeded = records
        .iter()
        .filter(|record| record.verdict == verdict::SUCCEEDED);
    let mut seconds: Vec<f64> = succeeded
        .filter_map(|record| record.seconds.as_ref()?.total)
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
        .get(seconds.len().div_ceil(2).checked_sub(1)?)
        .copied()
}

fn tree(plan: &Plan, turn: &Turn, usual: Option<f64>) -> Node {
    let release = &plan.release;
    let image = release.image.as_deref().unwrap_or_default();
    let services = plan.services.iter().map(|service| {
        Node::default()
            .and(Tone::Strong, name_of(&service.service))
            .and(
                Tone::Quiet,
                format!("  runs {}", name_of(&service.task_definition)),
            )
    });
    let alarms = match plan.alarms.as_slice() {
        [] => Node::new("alarms").and(Tone::Bad, "  none guards the deployment"),
        names => Node::new("alarms").and(Tone::Plain, format!("  {}", names.join(", "))),
    };
    let mut all = vec![
        Node::new("image").and(Tone::Strong, format!("  {image}")),
        Node::new("services").with(services),
        migration(plan),
        alarms,
    ];
    all.extend(plan.post_deploy.as_ref().map(|command| {
        Node::new("afterwards").and(Tone::Plain, format!("  {}", command.line.join(" ")))
    }));
    all.extend(turn.holder.as_ref().map(|holder| {
        let name = bluegreen_contract::name_of(&holder.execution);
        Node::new("waits").and(Tone::Busy, format!("  for the end of {name}"))
    }));
    all.extend(usual.map(|seconds| {
        Node::new("usual time").and(
            Tone::Quiet,
            format!("  {seconds:.0} s, the median of the last releases"),
        )
    }));
    all.extend(
        plan.notes
            .iter()
            .map(|note| Node::default().and(Tone::Busy, note)),
    );
    let what = match (plan.action, &plan.ending) {
        (Action::End | Action::Record, Some(Ending::NothingToDeploy)) => "nothing to deploy",
        (Action::End | Action::Record, Some(Ending::Stale)) => "it would end as stale",
        (Action::End | Action::Record, _) => "it would do nothing",
        (Action::Verify, _) => "it would only verify what runs",
        _ => "it would be released",
    };
    Node::default()
        .and(Tone::Strong, &release.stack)
        .and(Tone::Plain, format!(": {what}. {}", plan.reason))
        .with(all)
}

fn migration(plan: &Plan) -> Node {
    let line = Node::new("migration");
    let same = plan
        .migrations
        .as_ref()
        .and_then(|it| it.same_as.as_deref());
    match (&plan.migration, same) {
        (Some(command), _) => line.and(Tone::Plain, format!("  {}", command.line.join(" "))),
        (None, Some(release)) => line.and(
            Tone::Quiet,
            format!("  none: the same migrations as {release}"),
        ),
        (None, None) => line.and(Tone::Quiet, "  none"),
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_release::Seconds;

    use super::*;

    #[test]
    fn the_usual_time_is_the_median_of_what_has_succeeded() {
        let record = |verdict: &str, total: f64| Record {
            verdict: verdict.to_owned(),
            seconds: Some(Seconds {
                total: Some(total),
                ..Seconds::default()
            }),
            ..Record::default()
        };
        let records = [
            record("succeeded", 90.0),
            record("failed", 1.0),
            record("succeeded", 60.0),
            record("succeeded", 70.0),
        ];
        assert_eq!(usual_seconds(&records), Some(70.0));
        assert_eq!(usual_seconds(&[]), None);
    }
}

//! Twenty stacks of one repository, with two services each, to which one push goes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use end_to_end::account::Account;
use end_to_end::application::Settings;
use end_to_end::image::VersionSpec;
use local_aws::recorder::Call;
use tokio::time::Instant;

/// Request limits and the pipeline's pauses hold in real time; the shorter ECS needs, the denser the
/// calls come.
pub(crate) const SPEED: f64 = 10.0;

const STACKS: usize = 20;
/// How often one stack's release may call one API of ECS: like ECS's own limits a bucket of tokens, of
/// this size, into which so many come back each second. In any stretch of `w` seconds there are so at
/// most `2 w + 3` calls.
///
/// Each function lets two calls of an API pass at once and knows nothing of the function before it.
/// So the bucket holds what can come together where functions follow each other without a pause: the
/// task definitions of two services for a plan and one for the start of the migration, or the
/// services for a plan, for the plan with the turn in hand, and for the start of the migration.
const BURST: f64 = 3.0;
const SUSTAINED: f64 = 2.0;

pub(crate) async fn twenty_stacks_deploy_at_once_within_ecs_request_limits(
    account: &Account,
) -> Result<()> {
    let names: Vec<_> = (1..=STACKS).map(|n| format!("fleet{n:02}")).collect();
    let posts = VersionSpec::posts().build(account.websvc())?;
    let settings = Settings {
        // Two services make three new revisions with that of the migration.
        parameters: &[("DesiredCount", "1"), ("WorkerCommand", "websvc,serve")],
        ..Settings::default()
    };
    let applications = account
        .create_applications("fleet", &names, &posts, settings)
        .await?;
    let meow = VersionSpec::meow().build(account.websvc())?;

    let limits = account.aws().limit_requests().await?;
    let begun = Instant::now();
    applications[0].push("v2", &meow).await?;
    for name in &names {
        let execution = account.execution_of_push(name, &meow.digest()).await?;
        let end = execution.end().await?;
        ensure!(end.output["verdict"] == "succeeded", "{name}: {end:?}");
    }
    let took = begun.elapsed();
    limits.end().await?;

    for application in &applications {
        let services = [
            application.service_state().await?,
            application.worker_state().await?,
        ];
        for state in services {
            assert!(state.image.ends_with(&meow.digest()), "{state:?}");
            assert_eq!((&*state.rollout, state.running), ("COMPLETED", 1));
            assert_eq!(state.running_images, [state.image]);
        }
        assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    }
    let calls = account.aws().calls().await?;
    let by_functions = calls.only(|call| call.service == "ecs" && call.caller.is_some());
    let throttled = by_functions.only(|call| call.status == Some(400));
    eprintln!(
        "{STACKS} stacks deployed in {:.1} s; {} calls of ECS by functions, {} of them throttled",
        took.as_secs_f64(),
        by_functions.len(),
        throttled.len(),
    );
    assert!(!throttled.is_empty(), "the limits were never reached");
    let fullest = fullest_buckets(&by_functions, &names)?;
    for (api, (level, stack)) in &fullest {
        eprintln!("{api}: at most {level:.1} tokens taken, by {stack}");
    }
    let over: Vec<_> = fullest.iter().filter(|(_, (it, _))| *it > BURST).collect();
    assert!(over.is_empty(), "{over:?}");
    Ok(())
}

/// For each API the stack that took the most tokens at a time, and how many.
fn fullest_buckets(calls: &[Call], stacks: &[String]) -> Result<BTreeMap<String, (f64, String)>> {
    let mut times: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for call in calls {
        let request = call.request.to_string();
        // Names of clusters, services and task definitions begin with the stack's name.
        let stack = stacks.iter().find(|stack| request.contains(&***stack));
        let Some(stack) = stack else {
            anyhow::bail!("of which stack is this? {call:?}");
        };
        let key = (&*call.operation, &**stack);
        times.entry(key).or_default().push(call.time);
    }
    let mut fullest = BTreeMap::new();
    for ((api, stack), times) in times {
        let level = most_taken(&times);
        let known = fullest
            .entry(api.to_owned())
            .or_insert((0.0, String::new()));
        if level > known.0 {
            *known = (level, stack.to_owned());
        }
    }
    Ok(fullest)
}

/// How many tokens are missing in the bucket at most.
fn most_taken(times: &[f64]) -> f64 {
    let (mut taken, mut most, mut last) = (0.0_f64, 0.0_f64, 0.0);
    for time in times {
        taken = (taken - (time - last) * SUSTAINED).max(0.0) + 1.0;
        (most, last) = (most.max(taken), *time);
    }
    most
}

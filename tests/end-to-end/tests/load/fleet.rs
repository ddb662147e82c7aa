//! Twenty stacks of one repository, with two services each, to which one push goes.

use anyhow::{Result, ensure};
use end_to_end::account::Account;
use end_to_end::application::Settings;
use local_aws::recorder::Call;
use sample::image::VersionSpec;
use tokio::time::Instant;

/// Request limits and the pipeline's pauses hold in real time; the shorter ECS needs, the denser the
/// calls come.
pub(crate) const SPEED: f64 = 10.0;

const STACKS: usize = 20;

/// Calls that ECS takes from one bucket of tokens of an account in a region: their operations, the
/// bucket's size, and how many tokens come back each second.
type Bucket = (&'static [&'static str], f64, f64);

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html>.
const BUCKETS: [Bucket; 7] = [
    (&["RegisterTaskDefinition"], 20.0, 1.0),
    (&["UpdateService"], 50.0, 5.0),
    (&["RunTask", "StopTask"], 100.0, 40.0),
    (&["DescribeTasks", "ListTasks"], 100.0, 20.0),
    (&["DescribeServices", "ListServices"], 100.0, 20.0),
    (&["DescribeServiceDeployments"], 50.0, 20.0),
    (&["DescribeTaskDefinition"], 50.0, 20.0),
];
/// Calls are noted a little later than they are counted.
const NOTED_LATE: f64 = 1.0;

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
    let answered = by_functions.only(|call| call.status != Some(400));
    for (operations, burst, sustained) in BUCKETS {
        let is_of_bucket = |call: &&Call| operations.contains(&&*call.operation);
        let times: Vec<_> = answered
            .iter()
            .filter(is_of_bucket)
            .map(|it| it.time)
            .collect();
        let most = most_taken(&times, sustained);
        let refused = throttled.iter().filter(is_of_bucket).count();
        let operations = operations.join(", ");
        eprintln!(
            "{operations}: {} calls, at most {most:.1} of {burst} tokens taken, {refused} throttled",
            times.len()
        );
        assert!(
            most <= burst + NOTED_LATE,
            "{operations}: {most} of {burst}"
        );
    }
    // What is refused is tried again, by everybody at once: that has to become less, not more.
    assert!(
        throttled.len() < answered.len(),
        "{} calls of {} were throttled",
        throttled.len(),
        by_functions.len()
    );
    Ok(())
}

/// How many tokens are missing at most in a bucket into which so many come back each second.
fn most_taken(times: &[f64], sustained: f64) -> f64 {
    let (mut taken, mut most, mut last) = (0.0_f64, 0.0_f64, 0.0);
    for time in times {
        taken = (taken - (time - last) * sustained).max(0.0) + 1.0;
        (most, last) = (most.max(taken), *time);
    }
    most
}

//! Life-cycle hooks: functions that ECS asks at a stage, and pauses that somebody ends.
//!
//! What they are asked and may answer is documented in
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html> and
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>.

use aws_sdk_ecs::error::ProvideErrorMetadata;
use aws_sdk_ecs::types::builders::DeploymentLifecycleHookBuilder;
use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentLifecycleHook, DeploymentLifecycleHookAction,
    DeploymentLifecycleHookDetail, DeploymentLifecycleHookStage as Stage,
    DeploymentLifecycleHookStatus as HookStatus, DeploymentLifecycleHookTargetType as TargetType,
    DeploymentLifecycleHookTimeoutConfiguration, DeploymentStrategy, ServiceDeployment,
};
use aws_smithy_types::Document;
use serde_json::{Value, json};

use crate::account::{Account, eventually};
use crate::strategies::{
    blue_green, canary, deploy, deploy_again, linear, serve_version_1, serve_worker,
};
use crate::support::{NewFunction, create, python};
use crate::timeline::stage;

const ROLE: &str = "arn:aws:iam::123456789012:role/hooks";

/// A function that keeps the events it is invoked with.
struct Check {
    arn: String,
    events: tempfile::NamedTempFile,
}

impl Check {
    /// `answer` is the rest of a Python function of `event`.
    async fn new(account: &Account, answer: &str) -> Self {
        let events = tempfile::NamedTempFile::new().unwrap();
        let handler = format!(
            "with open({:?}, 'a') as events: events.write(json.dumps(event) + '\\n')\n{answer}",
            events.path()
        );
        let new = NewFunction {
            bootstrap: python(&handler),
            timeout: 60,
            ..NewFunction::default()
        };
        let name = create(&aws_sdk_lambda::Client::new(&account.config()), new).await;
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
        Self { arn, events }
    }

    async fn that_succeeds(account: &Account) -> Self {
        Self::new(account, "return {'hookStatus': 'SUCCEEDED'}").await
    }

    fn hook(&self, stages: &[Stage]) -> DeploymentLifecycleHookBuilder {
        DeploymentLifecycleHook::builder()
            .hook_target_arn(&self.arn)
            .role_arn(ROLE)
            .set_lifecycle_stages(Some(stages.to_vec()))
    }

    /// What it was invoked with so far.
    fn events(&self) -> Vec<Value> {
        let events = std::fs::read_to_string(self.events.path()).unwrap();
        let events = events.lines();
        events
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }

    /// What it was told of a deployment's traffic each time it was invoked.
    fn seen_of(&self, deployment: &ServiceDeployment) -> Vec<Seen> {
        let green = deployment.target_service_revision().unwrap().arn().unwrap();
        let blue = deployment.source_service_revisions()[0].arn().unwrap();
        let seen_in = |event: Value| {
            let details = &event["executionDetails"];
            assert_eq!(details["targetServiceRevisionArn"], green);
            let told = |weights: &str| {
                let weight = |revision: &str| details[weights].get(revision)?.as_f64();
                weight(blue).zip(weight(green))
            };
            seen(
                event["lifecycleStage"].as_str().unwrap(),
                told("testTrafficWeights"),
                told("productionTrafficWeights"),
            )
        };
        self.events().into_iter().map(seen_in).collect()
    }
}

/// What a function is told of traffic: the percents of the old revision and of the new one.
#[derive(Debug, PartialEq)]
struct Seen {
    stage: String,
    test: Option<(f64, f64)>,
    production: Option<(f64, f64)>,
}

fn seen(stage: &str, test: Option<(f64, f64)>, production: Option<(f64, f64)>) -> Seen {
    let stage = stage.to_owned();
    Seen {
        stage,
        test,
        production,
    }
}

fn pause(stage: Stage) -> DeploymentLifecycleHookBuilder {
    DeploymentLifecycleHook::builder()
        .target_type(TargetType::Pause)
        .lifecycle_stages(stage)
}

/// A minute, three seconds on the clock of the tests, and what happens then.
fn after_a_minute(
    action: DeploymentLifecycleHookAction,
) -> DeploymentLifecycleHookTimeoutConfiguration {
    DeploymentLifecycleHookTimeoutConfiguration::builder()
        .timeout_in_minutes(1)
        .action(action)
        .build()
}

/// A blue/green deployment with these hooks that does not bake.
fn with_hooks(
    hooks: impl IntoIterator<Item = DeploymentLifecycleHookBuilder>,
) -> DeploymentConfiguration {
    let hooks = hooks.into_iter().map(DeploymentLifecycleHookBuilder::build);
    blue_green(0)
        .set_lifecycle_hooks(Some(hooks.collect()))
        .build()
}

/// The only hook of the newest service deployment, once it has that status.
async fn hook_with_status(
    account: &Account,
    name: &str,
    status: HookStatus,
) -> (ServiceDeployment, DeploymentLifecycleHookDetail) {
    eventually(status.as_str(), async || {
        let newest = account.history(name).await.into_iter().next()?;
        let hook = newest.lifecycle_hook_details().first()?.clone();
        (hook.status() == Some(&status)).then_some((newest, hook))
    })
    .await
}

/// The newest service deployment, and its pause that waits at a stage.
async fn waiting_at(
    account: &Account,
    name: &str,
    wanted: &str,
) -> (ServiceDeployment, DeploymentLifecycleHookDetail) {
    eventually(wanted, async || {
        let newest = account.history(name).await.into_iter().next()?;
        let hooks = newest.lifecycle_hook_details().iter();
        let mut waiting = hooks.filter(|hook| hook.status() == Some(&HookStatus::AwaitingAction));
        let hook = waiting.next()?.clone();
        (stage(&newest) == wanted).then_some((newest, hook))
    })
    .await
}

fn go_on(
    account: &Account,
    deployment: &ServiceDeployment,
    hook: &DeploymentLifecycleHookDetail,
) -> aws_sdk_ecs::operation::continue_service_deployment::builders::ContinueServiceDeploymentFluentBuilder
{
    account
        .ecs
        .continue_service_deployment()
        .service_deployment_arn(deployment.service_deployment_arn().unwrap())
        .hook_id(hook.hook_id().unwrap())
}

/// The deployment was rolled back; its reason has these words.
async fn rolled_back(account: &Account, name: &str, words: &[&str]) -> ServiceDeployment {
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let rollback = deployment.rollback().unwrap();
    let blue = deployment.source_service_revisions()[0].arn();
    assert_eq!(rollback.service_revision_arn(), blue);
    let reason = deployment.status_reason().unwrap();
    for word in words {
        assert!(reason.contains(word), "{word:?} is not in {reason:?}");
    }
    deployment
}

pub(crate) async fn a_function_is_asked_at_each_of_its_stages_with_what_it_was_configured_with() {
    let account = Account::open();
    let name = "hooks-asked";
    serve_worker(&account, name).await;
    let check = Check::that_succeeds(&account).await;
    let stages = [
        Stage::PreScaleUp,
        Stage::PostScaleUp,
        Stage::TestTrafficShift,
        Stage::PostTestTrafficShift,
        Stage::PreProductionTrafficShift,
        Stage::ProductionTrafficShift,
        Stage::PostProductionTrafficShift,
    ];
    let details = Document::Object([("Url".to_owned(), Document::from("http://x"))].into());
    deploy_again(
        &account,
        name,
        with_hooks([check.hook(&stages).hook_details(details)]),
    )
    .await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;

    let events = check.events();
    let asked = events.iter().map(|event| event["lifecycleStage"].as_str());
    let asked: Vec<&str> = asked.map(Option::unwrap).collect();
    assert_eq!(asked, stages.each_ref().map(Stage::as_str));
    let told = deployment.lifecycle_hook_details();
    assert_eq!(told.len(), events.len());
    for (event, told) in events.iter().zip(told) {
        assert_eq!(event["executionId"], told.hook_id().unwrap());
        assert_eq!(event["hookDetails"], json!({"Url": "http://x"}));
        assert_eq!(
            event["resourceArn"],
            deployment.service_deployment_arn().unwrap()
        );
        let details = &event["executionDetails"];
        assert_eq!(details["serviceArn"], deployment.service_arn().unwrap());
        let green = deployment.target_service_revision().unwrap();
        assert_eq!(details["targetServiceRevisionArn"], green.arn().unwrap());
        assert_eq!(told.target_type(), Some(&TargetType::AwsLambda));
        assert_eq!(told.target_arn(), Some(check.arn.as_str()));
        assert_eq!(told.status(), Some(&HookStatus::Succeeded));
    }
    account.delete_service(name).await;
}

/// A rolling deployment with these hooks.
fn rolling_with_hooks(
    hooks: impl IntoIterator<Item = DeploymentLifecycleHookBuilder>,
) -> DeploymentConfiguration {
    let hooks = hooks.into_iter().map(DeploymentLifecycleHookBuilder::build);
    DeploymentConfiguration::builder()
        .strategy(DeploymentStrategy::Rolling)
        .set_lifecycle_hooks(Some(hooks.collect()))
        .build()
}

/// The stages of a rolling deployment are a choice of the local AWS (`src/ecs/rules/route.rs` says
/// why). A hook of another stage is not asked.
pub(crate) async fn a_rolling_deployment_waits_before_its_first_and_after_its_last_task() {
    let account = Account::open();
    let name = "hooks-rolling";
    serve_worker(&account, name).await;
    let before = account.tasks_of(name).await;
    let check = Check::that_succeeds(&account).await;
    let asked = [
        Stage::PreScaleUp,
        Stage::PostScaleUp,
        Stage::TestTrafficShift,
        Stage::PostProductionTrafficShift,
    ];
    let hooks = [
        check.hook(&asked),
        pause(Stage::PreScaleUp),
        pause(Stage::PostScaleUp),
    ];
    deploy_again(&account, name, rolling_with_hooks(hooks)).await;

    let (deployment, hook) = waiting_at(&account, name, "PRE_SCALE_UP").await;
    assert_eq!(account.tasks_of(name).await, before);
    go_on(&account, &deployment, &hook).send().await.unwrap();

    let (deployment, hook) = waiting_at(&account, name, "POST_SCALE_UP").await;
    assert_eq!(deployment.status().unwrap().as_str(), "IN_PROGRESS");
    let after = account.tasks_of(name).await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    go_on(&account, &deployment, &hook).send().await.unwrap();

    account.newest_deployment(name, "SUCCESSFUL").await;
    let events = check.events();
    let asked: Vec<_> = events.iter().map(|it| &it["lifecycleStage"]).collect();
    assert_eq!(asked, ["PRE_SCALE_UP", "POST_SCALE_UP"]);
    account.delete_service(name).await;
}

pub(crate) async fn a_rolling_deployment_whose_hook_fails_is_rolled_back() {
    let account = Account::open();
    let name = "hooks-rolling-failed";
    let definition = serve_worker(&account, name).await;
    let check = Check::new(&account, "return {'hookStatus': 'FAILED'}").await;
    for stage in [Stage::PreScaleUp, Stage::PostScaleUp] {
        let before = account.tasks_of(name).await;
        let hook = check.hook(std::slice::from_ref(&stage));
        deploy_again(&account, name, rolling_with_hooks([hook])).await;
        rolled_back(&account, name, &[&check.arn, stage.as_str()]).await;
        let after = account.tasks_of(name).await;
        assert_eq!(after.len(), 1);
        // Before the first task there is nothing to undo.
        assert_eq!(after == before, stage == Stage::PreScaleUp);
        let service = account.service(name).await;
        assert_eq!(service.task_definition(), Some(definition.as_str()));
    }
    account.delete_service(name).await;
}

pub(crate) async fn a_function_sees_traffic_shift_and_in_a_rollback_shift_back() {
    let account = Account::open();
    let name = "hooks-shift";
    serve_version_1(&account, name, blue_green(0)).await;
    let check = Check::that_succeeds(&account).await;
    let hooks = [
        check.hook(&[Stage::TestTrafficShift, Stage::ProductionTrafficShift]),
        pause(Stage::PostProductionTrafficShift),
    ];
    let configuration = with_hooks(hooks);
    let deployment = deploy(&account, name, "2", &[], Some(configuration)).await;
    let (paused, hook) = waiting_at(&account, name, "POST_PRODUCTION_TRAFFIC_SHIFT").await;
    go_on(&account, &paused, &hook)
        .action(DeploymentLifecycleHookAction::Rollback)
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;

    assert_eq!(
        check.seen_of(&deployment),
        [
            seen("TEST_TRAFFIC_SHIFT", Some((0.0, 100.0)), None),
            seen("PRODUCTION_TRAFFIC_SHIFT", None, Some((0.0, 100.0))),
            seen("PRODUCTION_TRAFFIC_SHIFT", None, Some((100.0, 0.0))),
            seen("TEST_TRAFFIC_SHIFT", Some((100.0, 0.0)), None),
        ]
    );
    account.delete_service(name).await;
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html>
/// (stages that are invoked more than once)
pub(crate) async fn a_function_is_asked_at_each_step_of_a_canary_and_of_a_linear_deployment() {
    let account = Account::open();
    for (name, configuration, green_shares) in [
        ("hooks-canary", canary(20.0, 0), &[20.0, 100.0][..]),
        ("hooks-linear", linear(40.0, 0), &[40.0, 80.0, 100.0]),
    ] {
        serve_version_1(&account, name, configuration.clone()).await;
        let check = Check::that_succeeds(&account).await;
        let hook = check.hook(&[
            Stage::PostTestTrafficShift,
            Stage::PreProductionTrafficShift,
            Stage::ProductionTrafficShift,
            Stage::PostProductionTrafficShift,
        ]);
        let configuration = configuration.lifecycle_hooks(hook.build()).build();
        let deployment = deploy(&account, name, "2", &[], Some(configuration)).await;
        account.newest_deployment(name, "SUCCESSFUL").await;
        let mut expected = vec![seen("POST_TEST_TRAFFIC_SHIFT", None, None)];
        let mut before = (100.0, 0.0);
        for green in green_shares {
            let after = (100.0 - green, *green);
            expected.push(seen("PRE_PRODUCTION_TRAFFIC_SHIFT", None, Some(before)));
            expected.push(seen("PRODUCTION_TRAFFIC_SHIFT", None, Some(after)));
            before = after;
        }
        expected.push(seen("POST_PRODUCTION_TRAFFIC_SHIFT", None, None));
        assert_eq!(check.seen_of(&deployment), expected);
        account.delete_service(name).await;
    }
}

pub(crate) async fn a_function_that_is_still_at_work_is_asked_again_with_the_details_it_gave() {
    let account = Account::open();
    let name = "hooks-again";
    serve_worker(&account, name).await;
    let check = Check::new(
        &account,
        "tries = event['hookDetails'].get('tries', 0) + 1\n\
         if tries == 3: return {'hookStatus': 'SUCCEEDED'}\n\
         details = {'tries': tries}\n\
         return {'hookStatus': 'IN_PROGRESS', 'callBackDelay': 10, 'hookDetails': details}",
    )
    .await;
    let details = Document::Object([("Url".to_owned(), Document::from("http://x"))].into());
    let hook = check.hook(&[Stage::PostScaleUp]).hook_details(details);
    deploy_again(&account, name, with_hooks([hook])).await;
    let (_, at_work) = hook_with_status(&account, name, HookStatus::InProgress).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;

    let events = check.events();
    let details: Vec<&Value> = events.iter().map(|event| &event["hookDetails"]).collect();
    assert_eq!(
        details,
        [
            &json!({"Url": "http://x"}),
            &json!({"Url": "http://x", "tries": 1}),
            &json!({"Url": "http://x", "tries": 2}),
        ]
    );
    for event in &events {
        assert_eq!(event["executionId"], at_work.hook_id().unwrap());
    }
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.hook_id(), at_work.hook_id());
    assert_eq!(told.status(), Some(&HookStatus::Succeeded));
    account.delete_service(name).await;
}

pub(crate) async fn a_function_that_says_failed_rolls_the_deployment_back() {
    let account = Account::open();
    let name = "hooks-failed";
    let definition = serve_worker(&account, name).await;
    let answer = "return {'hookStatus': 'FAILED', 'why': 'the page is wrong'}";
    let check = Check::new(&account, answer).await;
    deploy_again(
        &account,
        name,
        with_hooks([check.hook(&[Stage::PostScaleUp])]),
    )
    .await;
    let words = [&check.arn, "POST_SCALE_UP", "the page is wrong"];
    let deployment = rolled_back(&account, name, &words).await;
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.status(), Some(&HookStatus::Failed));
    assert_eq!(check.events().len(), 1);
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    assert_eq!(service.running_count(), 1);
    account.delete_service(name).await;
}

pub(crate) async fn a_function_that_crashes_or_answers_nonsense_or_is_not_there_rolls_back() {
    let account = Account::open();
    let name = "hooks-nonsense";
    serve_worker(&account, name).await;
    for (answer, word) in [
        ("raise Failure('NoConnection')", "NoConnection"),
        ("return None", "null"),
        ("return {'hookStatus': 'succeeded'}", "succeeded"),
    ] {
        let check = Check::new(&account, answer).await;
        deploy_again(
            &account,
            name,
            with_hooks([check.hook(&[Stage::PreScaleUp])]),
        )
        .await;
        let words = [check.arn.as_str(), "PRE_SCALE_UP", word];
        rolled_back(&account, name, &words).await;
    }
    let missing = "arn:aws:lambda:us-east-1:123456789012:function:nowhere";
    let hook = DeploymentLifecycleHook::builder()
        .hook_target_arn(missing)
        .role_arn(ROLE)
        .lifecycle_stages(Stage::PreScaleUp);
    deploy_again(&account, name, with_hooks([hook])).await;
    rolled_back(&account, name, &[missing, "cannot be invoked"]).await;
    account.delete_service(name).await;
}

pub(crate) async fn a_function_that_takes_too_long_does_what_its_timeout_says() {
    let account = Account::open();
    let name = "hooks-slow";
    serve_worker(&account, name).await;
    // The local Lambda runs a function in real time.
    let check = Check::new(&account, "time.sleep(30)").await;
    let timeout = after_a_minute(DeploymentLifecycleHookAction::Continue);
    let hook = check.hook(&[Stage::PostScaleUp]);
    deploy_again(
        &account,
        name,
        with_hooks([hook.timeout_configuration(timeout)]),
    )
    .await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.status(), Some(&HookStatus::TimedOut));
    account.delete_service(name).await;
}

/// A deployment that waits in a pause after its test traffic has shifted, and the pause.
async fn paused(
    account: &Account,
    name: &str,
) -> (ServiceDeployment, DeploymentLifecycleHookDetail) {
    serve_worker(account, name).await;
    let hooks = with_hooks([pause(Stage::PostTestTrafficShift)]);
    deploy_again(account, name, hooks).await;
    hook_with_status(account, name, HookStatus::AwaitingAction).await
}

pub(crate) async fn a_pause_holds_the_deployment_until_it_is_continued() {
    let account = Account::open();
    let name = "hooks-pause";
    let (deployment, hook) = paused(&account, name).await;
    let stage = deployment.lifecycle_stage().unwrap();
    assert_eq!(stage.as_str(), "POST_TEST_TRAFFIC_SHIFT");
    assert!(hook.hook_id().unwrap().starts_with("ecs-pause-"));
    assert_eq!(hook.target_type(), Some(&TargetType::Pause));
    assert_eq!(hook.target_arn(), None);
    let rollback = DeploymentLifecycleHookAction::Rollback;
    assert_eq!(hook.timeout_action(), Some(&rollback));
    assert!(hook.expires_at().unwrap() > deployment.created_at().unwrap());

    let other = account.history(name).await.remove(1);
    let refused = go_on(&account, &other, &hook).send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("InvalidParameterException"));
    let request = go_on(&account, &deployment, &hook);
    let nowhere = format!("{}x", deployment.service_deployment_arn().unwrap());
    let refused = request.service_deployment_arn(nowhere).send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert!(refused.is_service_deployment_not_found_exception());
    let newest = account.history(name).await.remove(0);
    assert_eq!(newest.lifecycle_stage(), deployment.lifecycle_stage());

    // Without an action it goes on.
    let answer = go_on(&account, &deployment, &hook).send().await.unwrap();
    let arn = deployment.service_deployment_arn();
    assert_eq!(answer.service_deployment_arn(), arn);
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.hook_id(), hook.hook_id());
    assert_eq!(told.status(), Some(&HookStatus::Succeeded));
    let refused = go_on(&account, &deployment, &hook).send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("ClientException"));
    account.delete_service(name).await;
}

pub(crate) async fn a_pause_can_be_ended_with_a_rollback() {
    let account = Account::open();
    let name = "hooks-no";
    let (deployment, hook) = paused(&account, name).await;
    go_on(&account, &deployment, &hook)
        .action(DeploymentLifecycleHookAction::Rollback)
        .send()
        .await
        .unwrap();
    let words = [hook.hook_id().unwrap(), "POST_TEST_TRAFFIC_SHIFT"];
    let deployment = rolled_back(&account, name, &words).await;
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.status(), Some(&HookStatus::Failed));
    account.delete_service(name).await;
}

pub(crate) async fn a_pause_that_nobody_ends_rolls_back_after_its_timeout() {
    let account = Account::open();
    let name = "hooks-forgotten";
    serve_worker(&account, name).await;
    let timeout = after_a_minute(DeploymentLifecycleHookAction::Rollback);
    let hook = pause(Stage::PostScaleUp).timeout_configuration(timeout);
    deploy_again(&account, name, with_hooks([hook])).await;
    let deployment = rolled_back(&account, name, &["POST_SCALE_UP"]).await;
    let told = &deployment.lifecycle_hook_details()[0];
    assert_eq!(told.status(), Some(&HookStatus::TimedOut));
    account.delete_service(name).await;
}

pub(crate) async fn a_hook_that_fails_rolls_back_while_another_of_its_stage_still_waits() {
    let account = Account::open();
    let name = "hooks-both";
    serve_worker(&account, name).await;
    let check = Check::new(&account, "return {'hookStatus': 'FAILED'}").await;
    let stage = Stage::PostScaleUp;
    let hooks = [
        pause(stage.clone()),
        check.hook(std::slice::from_ref(&stage)),
    ];
    deploy_again(&account, name, with_hooks(hooks)).await;
    let deployment = rolled_back(&account, name, &[&check.arn]).await;
    let told = deployment.lifecycle_hook_details();
    let told: Vec<_> = told.iter().map(|hook| hook.status().unwrap()).collect();
    assert_eq!(told, [&HookStatus::Failed], "nothing waits any more");
    account.delete_service(name).await;
}

pub(crate) async fn a_hook_without_a_role_is_refused() {
    let account = Account::open();
    let definition = account.define("hooks-refused", "image").await;
    let hook = DeploymentLifecycleHook::builder()
        .hook_target_arn("arn:aws:lambda:us-east-1:123456789012:function:check")
        .lifecycle_stages(Stage::PostScaleUp);
    let refused = account
        .create_service("hooks-refused", &definition, None)
        .deployment_configuration(with_hooks([hook]))
        .send()
        .await;
    let refused = refused.unwrap_err().into_service_error();
    assert!(refused.is_invalid_parameter_exception(), "{refused}");
    assert!(refused.message().unwrap().contains("roleArn"), "{refused}");
}

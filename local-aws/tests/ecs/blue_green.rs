//! Blue/green deployments: everybody moves at once, testers first.

use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_ecs::types::{DeploymentStrategy, LoadBalancer};

use tokio::task::JoinSet;

use crate::account::{Account, Pair, eventually};
use crate::strategies::{
    STAGES, blue_green, deploy, newest_at_stage, put_alarm, serve_version_1, set_alarm,
    target_groups, with_alarm,
};
use crate::timeline::{Observer, counts, stage, weights};
use crate::visitors::Visitors;

pub(crate) async fn all_visitors_move_at_once_and_testers_see_the_new_version_first() {
    let account = Account::open();
    let name = "blue-green";
    let (_, pair) = serve_version_1(&account, name, blue_green(1)).await;
    let visitors = Visitors::of(&pair.production);
    let testers = Visitors::of(&pair.test);
    let deployment = deploy(&account, name, "2", &[], None).await;
    let observer = Observer::of(&account.ecs, &deployment);
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    let timeline = observer.report().await;
    let visits = visitors.report().await;
    let tests = testers.report().await;

    // What ECS told on the way.
    let stages = timeline.stages();
    let mut order = STAGES.iter();
    let in_order = stages
        .iter()
        .filter(|seen| !seen.is_empty())
        .all(|seen| order.any(|stage| stage == seen));
    assert!(in_order, "{stages:?}");
    for moment in timeline.at_stage("SCALE_UP") {
        let told = &moment.told;
        let target = told.target_service_revision().unwrap();
        let source = &told.source_service_revisions()[0];
        assert_eq!(weights(target), (0.0, 0.0));
        assert_eq!(weights(source), (100.0, 100.0));
        assert_eq!(counts(source), (2, 2));
    }
    let baking = timeline.at_stage("BAKE_TIME");
    assert!(!baking.is_empty(), "{stages:?}");
    for moment in &baking {
        let told = &moment.told;
        let target = told.target_service_revision().unwrap();
        let source = &told.source_service_revisions()[0];
        assert_eq!((weights(target), counts(target)), ((100.0, 100.0), (2, 2)));
        assert_eq!((weights(source), counts(source)), ((0.0, 0.0), (2, 2)));
    }

    // What visitors and testers saw meanwhile.
    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    let counted = tests.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    let shifted = visits.first("2").unwrap();
    let scaling = timeline.at_stage("SCALE_UP");
    assert!(shifted > scaling.last().unwrap().asked);
    assert!(visits.last("1").unwrap() < baking[0].answered);
    assert!(tests.first("2").unwrap() < shifted);

    // What is left.
    assert_eq!(stage(&deployment), "CLEAN_UP");
    let target = deployment.target_service_revision().unwrap();
    let source = &deployment.source_service_revisions()[0];
    assert_eq!((weights(target), counts(target)), ((100.0, 100.0), (2, 2)));
    assert_eq!((weights(source), counts(source)), ((0.0, 0.0), (0, 0)));
    let service = account.service(name).await;
    assert_eq!(
        (service.deployments().len(), service.running_count()),
        (1, 2)
    );
    let [first, second] = pair.groups;
    assert_eq!(target_groups(&account, name).await, [second, first]);
    account.delete_service(name).await;
}

/// AWS does not say what the stages of a service's first deployment do without a blue revision.
/// Here it goes through all of them, gets all traffic in one step, and does not bake: bake time
/// is when "both blue and green service revisions are running simultaneously"
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html>).
pub(crate) async fn a_first_deployment_gets_all_traffic_without_baking() {
    let account = Account::open();
    let name = "blue-green-first";
    // A day, which would be more than an hour here.
    let (_, pair) = serve_version_1(&account, name, blue_green(1440)).await;
    let first = &account.history(name).await[0];
    assert!(first.source_service_revisions().is_empty());
    assert_eq!(stage(first), "CLEAN_UP");
    let target = first.target_service_revision().unwrap();
    assert_eq!(weights(target), (100.0, 100.0));
    let answer = reqwest::get(&pair.production).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "1");
    account.delete_service(name).await;
}

pub(crate) async fn a_version_that_never_becomes_healthy_gets_no_traffic() {
    let account = Account::open();
    let name = "blue-green-unhealthy";
    let (definition, pair) = serve_version_1(&account, name, blue_green(1)).await;
    let visitors = Visitors::of(&pair.production);
    let testers = Visitors::of(&pair.test);
    let deployment = deploy(&account, name, "2", &["BAD=1"], None).await;
    let observer = Observer::of(&account.ecs, &deployment);
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let timeline = observer.report().await;
    for seen in [visitors.leave().await, testers.leave().await] {
        assert!(seen.keys().eq(["1"].iter()), "{seen:?}");
    }
    // Nothing was shifted, so nothing has to be shifted back.
    let stages = timeline.stages();
    assert!(
        !stages.iter().any(|stage| stage.contains("TRAFFIC")),
        "{stages:?}"
    );
    let breaker = deployment.deployment_circuit_breaker().unwrap();
    assert_eq!(breaker.status().unwrap().as_str(), "TRIGGERED");
    let target = deployment.target_service_revision().unwrap();
    assert_eq!(counts(target), (0, 0));
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    account.delete_service(name).await;
}

pub(crate) async fn an_alarm_in_the_bake_time_brings_everybody_back() {
    let account = Account::open();
    let name = "blue-green-alarm";
    put_alarm(&account, name).await;
    // Long enough for the alarm, however slow the machine is.
    let configuration = with_alarm(blue_green(600), name);
    let (definition, pair) = serve_version_1(&account, name, configuration).await;
    let visitors = Visitors::of(&pair.production);
    let deployment = deploy(&account, name, "2", &[], None).await;
    newest_at_stage(&account, name, "BAKE_TIME").await;
    eventually("a watched alarm", async || {
        let newest = account.history(name).await.remove(0);
        let status = newest.alarms()?.status()?.as_str() == "MONITORING";
        status.then_some(())
    })
    .await;
    let observer = Observer::of(&account.ecs, &deployment);
    set_alarm(&account, name, StateValue::Alarm).await;
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let timeline = observer.report().await;
    let visits = visitors.report().await;
    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    // Traffic is back before the new version is cleaned up.
    let cleaning = timeline.at_stage("CLEAN_UP")[0].answered;
    assert!(visits.last("2").unwrap() < cleaning);
    assert_eq!(deployment.alarms().unwrap().triggered_alarm_names(), [name]);
    let rollback = deployment.rollback().unwrap();
    let source = &deployment.source_service_revisions()[0];
    assert_eq!(rollback.service_revision_arn(), source.arn());
    assert_eq!((weights(source), counts(source)), ((100.0, 100.0), (2, 2)));
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    account.delete_service(name).await;
}

/// Blue is being stopped already, so it has to come up again before traffic returns to it.
pub(crate) async fn a_rollback_during_the_clean_up_waits_for_the_old_version() {
    let account = Account::open();
    let name = "blue-green-late";
    let (_, pair) = serve_version_1(&account, name, blue_green(0)).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    // Requests that the old version is busy with draw its clean-up out.
    let page = format!("{}/slow/2", pair.production);
    let mut busy = JoinSet::new();
    let cleaning = eventually("CLEAN_UP", async || {
        busy.spawn(reqwest::get(page.clone()));
        let newest = account.history(name).await.remove(0);
        (stage(&newest) == "CLEAN_UP").then_some(newest)
    })
    .await;
    let request = account.stop_with_rollback(&cleaning);
    request.send().await.unwrap();
    account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    for answer in busy.join_all().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let answer = reqwest::get(&pair.production).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "1");
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1", "2"].iter()), "{seen:?}");
    account.delete_service(name).await;
}

/// What has got all production traffic is what a newer deployment starts from; AWS does not say
/// which of the two it is. The older version is stopped first, because the newest needs its
/// target group.
pub(crate) async fn a_newer_update_in_the_bake_time_starts_from_the_version_that_serves() {
    let account = Account::open();
    let name = "blue-green-superseded";
    let (_, pair) = serve_version_1(&account, name, blue_green(600)).await;
    deploy(&account, name, "2", &[], None).await;
    newest_at_stage(&account, name, "BAKE_TIME").await;
    let visitors = Visitors::of(&pair.production);
    let deployment = deploy(&account, name, "3", &[], Some(blue_green(0).build())).await;
    let observer = Observer::of(&account.ecs, &deployment);
    account.newest_deployment(name, "SUCCESSFUL").await;
    let stages = observer.report().await;
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["2", "3"].iter()), "{seen:?}");
    let stages = stages.stages();
    assert!(stages.contains(&"RECONCILE_SERVICE"), "{stages:?}");
    let history = account.history(name).await;
    assert_eq!(history[1].status().unwrap().as_str(), "STOPPED");
    assert_eq!(history[0].source_service_revisions().len(), 2);
    let [first, second] = pair.groups;
    let groups = target_groups(&account, name).await;
    assert_eq!(groups, [first.clone(), second, first]);
    account.delete_service(name).await;
}

/// "Amazon ECS does not manage traffic shifting for headless services."
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deploy-blue-green-service.html>)
pub(crate) async fn a_service_without_a_load_balancer_is_deployed_side_by_side() {
    let account = Account::open();
    let name = "blue-green-headless";
    let image = account.push_server("1", &[]).await;
    let definition = account.define(name, &image).await;
    account
        .create_service(name, &definition, None)
        .deployment_configuration(blue_green(1).build())
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "SUCCESSFUL").await;
    deploy(&account, name, "2", &[], None).await;
    let baking = newest_at_stage(&account, name, "BAKE_TIME").await;
    let target = baking.target_service_revision().unwrap();
    let source = &baking.source_service_revisions()[0];
    assert_eq!((counts(target), counts(source)), ((2, 2), (2, 2)));
    account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(account.service(name).await.running_count(), 2);
    account.delete_service(name).await;
}

pub(crate) async fn the_strategy_can_change_to_blue_green_and_back() {
    let account = Account::open();
    let name = "changing-strategy";
    let rolling = || blue_green(0).strategy(DeploymentStrategy::Rolling);
    let (_, pair) = serve_version_1(&account, name, rolling()).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], Some(blue_green(0).build())).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(stage(&deployment), "CLEAN_UP");
    deploy(&account, name, "3", &[], Some(rolling().build())).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(stage(&deployment), "");
    // A rolling deployment that takes the place of a blue/green one waits until it has given way.
    deploy(&account, name, "4", &[], Some(blue_green(600).build())).await;
    newest_at_stage(&account, name, "SCALE_UP").await;
    deploy(&account, name, "5", &[], Some(rolling().build())).await;
    let deployment = account.newest_deployment(name, "SUCCESSFUL").await;
    assert_eq!(stage(&deployment), "POST_SCALE_UP");
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1", "2", "3", "5"].iter()), "{seen:?}");
    account.delete_service(name).await;
}

pub(crate) async fn a_rule_that_forwards_elsewhere_is_refused() {
    let account = Account::open();
    let name = "blue-green-refused";
    let image = account.push_server("1", &[]).await;
    let definition = account.define(name, &image).await;
    let own = account.pair(name).await;
    let other = account.pair("blue-green-other").await;
    let create = async |pair: &Pair, change: fn(LoadBalancer, &Pair) -> LoadBalancer| {
        let balancer = change(pair.load_balancer(), &other);
        let refused = account
            .create_service(name, &definition, None)
            .load_balancers(balancer)
            .deployment_configuration(blue_green(1).build())
            .send()
            .await;
        let error = refused.unwrap_err().into_service_error();
        assert!(error.is_invalid_parameter_exception(), "{error}");
        error.to_string()
    };
    let elsewhere = |mut balancer: LoadBalancer, other: &Pair| {
        let advanced = balancer.advanced_configuration.as_mut().unwrap();
        advanced.production_listener_rule = Some(other.production_rule.clone());
        balancer
    };
    let problem = create(&own, elsewhere).await;
    assert!(problem.contains("must forward to"), "{problem}");
    let nowhere = |mut balancer: LoadBalancer, other: &Pair| {
        let advanced = balancer.advanced_configuration.as_mut().unwrap();
        let rule = format!("{}0", other.test_rule);
        advanced.test_listener_rule = Some(rule);
        balancer
    };
    let problem = create(&own, nowhere).await;
    assert!(problem.contains("does not exist"), "{problem}");
}

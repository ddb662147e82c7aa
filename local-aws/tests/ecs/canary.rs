//! Canary deployments: a few visitors first, then everybody.

use aws_sdk_cloudwatch::types::StateValue;

use crate::account::{Account, CLUSTER, eventually};
use crate::strategies::{canary, deploy, newest_at_stage, serve_version_1, set_alarm};
use crate::strategies::{put_alarm, shares_traffic_until, with_alarm};
use crate::timeline::{Observer, counts, weights};
use crate::visitors::Visitors;

pub(crate) async fn a_share_of_the_visitors_sees_the_new_version_first() {
    let account = Account::open();
    let name = "canary";
    let (_, pair) = serve_version_1(&account, name, canary(20.0, 1)).await;
    let visitors = Visitors::of(&pair.production);
    let deployment = deploy(&account, name, "2", &[], None).await;
    let observer = Observer::of(&account.ecs, &deployment);
    account.newest_deployment(name, "SUCCESSFUL").await;
    let timeline = observer.report().await;
    let visits = visitors.report().await;
    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");

    assert_eq!(timeline.production_weights(), [0.0, 20.0, 100.0]);
    let unshifted = timeline.at_weight(0.0);
    assert!(visits.first("2").unwrap() > unshifted.last().unwrap().asked);
    let told = timeline.at_weight(20.0);
    let during = visits.between(visits.first("2").unwrap(), told.last().unwrap().asked);
    let share = during.share("2");
    assert!((0.14..=0.26).contains(&share), "{share}");
    let baking = timeline.at_stage("BAKE_TIME");
    assert!(visits.last("1").unwrap() < baking[0].answered);
    account.delete_service(name).await;
}

/// The desired count and the replacement of tasks that die hold for both revisions; a user ends
/// the deployment.
pub(crate) async fn both_versions_are_kept_up_until_a_user_stops_the_deployment() {
    let account = Account::open();
    let name = "canary-stopped";
    let (definition, pair) = serve_version_1(&account, name, canary(50.0, 600)).await;
    let first = account.tasks_of(name).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    let told = eventually("a canary", async || {
        let newest = account.history(name).await.remove(0);
        let weight = weights(newest.target_service_revision()?).0;
        (weight > 0.0).then_some(newest)
    })
    .await;
    account
        .update_service(name)
        .desired_count(3)
        .send()
        .await
        .unwrap();
    account
        .ecs
        .stop_task()
        .cluster(CLUSTER)
        .task(&first[0])
        .send()
        .await
        .unwrap();
    eventually("three tasks of each", async || {
        let newest = account.history(name).await.remove(0);
        let target = counts(newest.target_service_revision()?);
        let source = counts(&newest.source_service_revisions()[0]);
        let gone = !account.tasks_of(name).await.contains(&first[0]);
        (gone && target == (3, 3) && source == (3, 3)).then_some(())
    })
    .await;
    let request = account.stop_with_rollback(&told);
    request.send().await.unwrap();
    let deployment = account.newest_deployment(name, "ROLLBACK_SUCCESSFUL").await;
    let answer = reqwest::get(&pair.production).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "1");
    let seen = visitors.leave().await;
    assert!(seen.keys().eq(["1", "2"].iter()), "{seen:?}");
    let target = deployment.target_service_revision().unwrap();
    assert_eq!((weights(target), counts(target)), ((0.0, 0.0), (0, 0)));
    let service = account.service(name).await;
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    assert_eq!(
        (service.deployments().len(), service.running_count()),
        (1, 3)
    );
    account.delete_service(name).await;
}

/// A version that has only part of the traffic is not proven: it gives it back to the one before
/// when a newer one arrives. AWS does not say which of the two remains.
pub(crate) async fn a_newer_update_takes_the_place_of_a_canary() {
    let account = Account::open();
    let name = "canary-superseded";
    let (_, pair) = serve_version_1(&account, name, canary(50.0, 600)).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    newest_at_stage(&account, name, "PRODUCTION_TRAFFIC_SHIFT").await;
    let deployment = deploy(&account, name, "3", &[], Some(canary(50.0, 0).build())).await;
    let observer = Observer::of(&account.ecs, &deployment);
    account.newest_deployment(name, "SUCCESSFUL").await;
    let timeline = observer.report().await;
    let visits = visitors.report().await;
    let counted = visits.counts();
    assert!(
        counted
            .keys()
            .all(|answer| ["1", "2", "3"].contains(&answer.as_str())),
        "{counted:?}"
    );
    assert!(timeline.stages().contains(&"RECONCILE_SERVICE"));
    // No visitor has to go back and forth between three versions.
    if let Some(last) = visits.last("2") {
        assert!(last < visits.first("3").unwrap());
    }
    let history = account.history(name).await;
    assert_eq!(history[1].status().unwrap().as_str(), "STOPPED");
    account.delete_service(name).await;
}

pub(crate) async fn an_alarm_ends_a_canary() {
    let account = Account::open();
    let name = "canary-alarm";
    put_alarm(&account, name).await;
    let configuration = with_alarm(canary(10.0, 600), name);
    let (_, pair) = serve_version_1(&account, name, configuration).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    let alarm = async || {
        eventually("an alarm that is watched", async || {
            let newest = account.history(name).await.remove(0);
            let status = newest.alarms()?.status()?;
            (status.as_str() == "MONITORING").then_some(())
        })
        .await;
        set_alarm(&account, name, StateValue::Alarm).await;
    };
    shares_traffic_until(&account, name, visitors, 10.0, alarm).await;
    let deployment = account.history(name).await.remove(0);
    let source = &deployment.source_service_revisions()[0];
    assert_eq!(weights(source), (100.0, 100.0));
    account.delete_service(name).await;
}

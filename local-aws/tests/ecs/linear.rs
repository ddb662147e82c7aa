//! Linear deployments: equal steps.

use crate::account::{Account, eventually};
use crate::strategies::{deploy, linear, serve_version_1, shares_traffic_until};
use crate::timeline::{Observer, weights};
use crate::visitors::Visitors;

pub(crate) async fn the_share_of_the_new_version_grows_in_steps() {
    let account = Account::open();
    let name = "linear";
    let (_, pair) = serve_version_1(&account, name, linear(33.4, 1)).await;
    let visitors = Visitors::of(&pair.production);
    let deployment = deploy(&account, name, "2", &[], None).await;
    let observer = Observer::of(&account.ecs, &deployment);
    account.newest_deployment(name, "SUCCESSFUL").await;
    let timeline = observer.report().await;
    let visits = visitors.report().await;
    let counted = visits.counts();
    assert!(counted.keys().eq(["1", "2"].iter()), "{counted:?}");
    assert_eq!(timeline.production_weights(), [0.0, 33.4, 66.8, 100.0]);
    for percent in [33.4, 66.8] {
        let told = timeline.at_weight(percent);
        let (from, until) = (told[0].answered, told.last().unwrap().asked);
        // A rule changes a moment after ECS has told that it wants it to.
        let during = visits.between(from + (until - from) / 3, until);
        let share = 100.0 * during.share("2");
        assert!((share - percent).abs() < 8.0, "{share} at {percent}");
    }
    let baking = timeline.at_stage("BAKE_TIME");
    assert!(visits.last("1").unwrap() < baking[0].answered);
    account.delete_service(name).await;
}

pub(crate) async fn a_user_stops_a_linear_deployment_midway() {
    let account = Account::open();
    let name = "linear-stopped";
    let (_, pair) = serve_version_1(&account, name, linear(50.0, 600)).await;
    let visitors = Visitors::of(&pair.production);
    let deployment = deploy(&account, name, "2", &[], None).await;
    let observer = Observer::of(&account.ecs, &deployment);
    let stop = async || {
        let request = account.stop_with_rollback(&deployment);
        request.send().await.unwrap();
    };
    shares_traffic_until(&account, name, visitors, 50.0, stop).await;
    let timeline = observer.report().await;
    assert_eq!(timeline.production_weights(), [0.0, 50.0, 0.0]);
    assert_eq!(timeline.stages().last(), Some(&"CLEAN_UP"));
    account.delete_service(name).await;
}

/// As with a canary: the version that has only a part of the traffic gives it back first.
pub(crate) async fn a_newer_update_takes_the_place_of_a_linear_deployment() {
    let account = Account::open();
    let name = "linear-superseded";
    let (_, pair) = serve_version_1(&account, name, linear(50.0, 600)).await;
    let visitors = Visitors::of(&pair.production);
    deploy(&account, name, "2", &[], None).await;
    eventually("the first step", async || {
        let newest = account.history(name).await.remove(0);
        let weight = weights(newest.target_service_revision()?).0;
        (weight > 0.0).then_some(())
    })
    .await;
    deploy(&account, name, "3", &[], Some(linear(50.0, 0).build())).await;
    account.newest_deployment(name, "SUCCESSFUL").await;
    let visits = visitors.report().await;
    let counted = visits.counts();
    let versions = ["1", "2", "3"];
    assert!(
        counted
            .keys()
            .all(|answer| versions.contains(&answer.as_str())),
        "{counted:?}"
    );
    // No visitor has to go back and forth between three versions.
    if let Some(last) = visits.last("2") {
        assert!(last < visits.first("3").unwrap());
    }
    let history = account.history(name).await;
    assert_eq!(history[1].status().unwrap().as_str(), "STOPPED");
    account.delete_service(name).await;
}

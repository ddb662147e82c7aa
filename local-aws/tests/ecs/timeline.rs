//! What ECS says of a service deployment while it goes on, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{ServiceDeployment, ServiceRevisionSummary};
use tokio::task::JoinHandle;

/// Asks for one service deployment again and again.
pub(crate) struct Observer {
    leaving: Arc<AtomicBool>,
    observation: JoinHandle<Vec<Moment>>,
}

/// One answer. What it tells was so at a moment between the two.
pub(crate) struct Moment {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    pub(crate) told: ServiceDeployment,
}

pub(crate) struct Timeline(Vec<Moment>);

impl Observer {
    pub(crate) fn of(ecs: &aws_sdk_ecs::Client, deployment: &ServiceDeployment) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let arn = deployment.service_deployment_arn().unwrap().to_owned();
        let observation = tokio::spawn(observe(ecs.clone(), arn, leaving.clone()));
        Self {
            leaving,
            observation,
        }
    }

    pub(crate) async fn report(self) -> Timeline {
        self.leaving.store(true, Ordering::Relaxed);
        Timeline(self.observation.await.unwrap())
    }
}

async fn observe(ecs: aws_sdk_ecs::Client, arn: String, leaving: Arc<AtomicBool>) -> Vec<Moment> {
    let mut seen = Vec::new();
    loop {
        // What is told last counts as well.
        let is_last = leaving.load(Ordering::Relaxed);
        let asked = Instant::now();
        let request = ecs.describe_service_deployments();
        let answer = request.service_deployment_arns(&arn).send().await.unwrap();
        seen.push(Moment {
            asked,
            answered: Instant::now(),
            told: answer.service_deployments()[0].clone(),
        });
        if is_last {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) fn stage(deployment: &ServiceDeployment) -> &str {
    deployment
        .lifecycle_stage()
        .map_or("", |stage| stage.as_str())
}

/// The percents of production and of test traffic that a revision is meant to get.
pub(crate) fn weights(revision: &ServiceRevisionSummary) -> (f64, f64) {
    (
        revision.requested_production_traffic_weight().unwrap(),
        revision.requested_test_traffic_weight().unwrap(),
    )
}

/// How many tasks of a revision are wanted, and how many run.
pub(crate) fn counts(revision: &ServiceRevisionSummary) -> (i32, i32) {
    (
        revision.requested_task_count(),
        revision.running_task_count(),
    )
}

impl Timeline {
    /// The stages in the order in which they were seen.
    pub(crate) fn stages(&self) -> Vec<&str> {
        let mut stages: Vec<&str> = self.0.iter().map(|moment| stage(&moment.told)).collect();
        stages.dedup();
        stages
    }

    /// What is told of the target revision's production traffic, each value once.
    pub(crate) fn production_weights(&self) -> Vec<f64> {
        let targets = self
            .0
            .iter()
            .filter_map(|moment| moment.told.target_service_revision());
        let mut all: Vec<f64> = targets.map(|target| weights(target).0).collect();
        all.dedup();
        all
    }

    /// Only the moments of which something is told.
    pub(crate) fn during(&self, told: impl Fn(&ServiceDeployment) -> bool) -> Vec<&Moment> {
        let moments = self.0.iter();
        moments.filter(|moment| told(&moment.told)).collect()
    }

    pub(crate) fn at_stage(&self, name: &str) -> Vec<&Moment> {
        self.during(|deployment| stage(deployment) == name)
    }

    /// While the target revision is meant to get so many percent of the production traffic.
    pub(crate) fn at_weight(&self, percent: f64) -> Vec<&Moment> {
        self.during(|deployment| {
            let target = deployment.target_service_revision().unwrap();
            (weights(target).0 - percent).abs() < 0.01
        })
    }
}

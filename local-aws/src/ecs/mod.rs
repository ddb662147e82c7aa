//! The local ECS: tasks are processes of this machine, services replace them by deployments.
//!
//! State is one structure behind one lock, held only for moments. Every task has a future that
//! lives its life (`lifecycle`), every service one that looks after it (`scheduler`); they meet
//! in the state, and a change of a task wakes the service it belongs to.

mod api;
#[cfg(test)]
pub(crate) mod in_process;
mod life;
mod model;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use life::interruption::Interruption;
pub use model::error::ApiError;

use crate::clock::Clock;
use crate::event_bus::EventBus;
use crate::images::ImageStore;
use crate::lambda::LambdaService;
use crate::load_balancer::LoadBalancers;
use api::clusters::Cluster;
use api::run_task::StartedTasks;
use life::hooks::Pauses;
use life::scheduler::ServiceKey;
use model::names::Names;
use model::service::Service;
use model::task::Task;
use rules::task_definitions::TaskDefinition;

/// What the local ECS works with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub account_id: String,
    pub region: String,
    /// The gateway's URL; containers find it in `AWS_ENDPOINT_URL`.
    pub endpoint_url: String,
    pub clock: Clock,
    pub images: ImageStore,
    pub load_balancers: LoadBalancers,
    /// Runs the functions of life-cycle hooks.
    pub(crate) lambda: Arc<LambdaService>,
    /// Knows the deployment alarms.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    pub ssm: aws_sdk_ssm::Client,
    /// Takes the events of ECS.
    pub event_bus: EventBus,
}

impl Settings {
    /// What a container's environment says about AWS. Credentials are those of the task's role:
    /// without a role there are none.
    fn environment(&self, has_role: bool) -> Vec<(String, String)> {
        let mut all = vec![
            ("AWS_REGION", self.region.as_str()),
            ("AWS_DEFAULT_REGION", self.region.as_str()),
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
            ("AWS_ENDPOINT_URL", self.endpoint_url.as_str()),
        ];
        if has_role {
            all.push(("AWS_ACCESS_KEY_ID", "local"));
            all.push(("AWS_SECRET_ACCESS_KEY", "local"));
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// The ECS control plane. Clones share one state.
#[derive(Clone, Debug)]
pub struct Ecs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    names: Names,
    state: Mutex<State>,
    pauses: Pauses,
    /// All lives of tasks and all loops of services.
    running: TaskTracker,
    /// Ends them at once.
    killed: CancellationToken,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// By name.
    clusters: HashMap<String, Cluster>,
    /// The revisions of each family, the oldest first.
    families: HashMap<String, Vec<Arc<TaskDefinition>>>,
    /// By id.
    tasks: HashMap<String, Task>,
    /// Client tokens of RunTask, by cluster and token.
    tokens: HashMap<(String, String), StartedTasks>,
    services: HashMap<ServiceKey, Service>,
    /// How many tasks of a cluster, by its name, will find no capacity.
    lacking: HashMap<String, usize>,
}

impl State {
    /// Removes a task that stopped long ago, and with the last of its tasks a client token.
    fn forget_task(&mut self, id: &str) {
        self.tasks.remove(id);
        let tasks = &self.tasks;
        self.tokens
            .retain(|_, started| started.tasks.iter().any(|task| tasks.contains_key(task)));
    }
}

impl Ecs {
    pub fn new(settings: Settings) -> Self {
        Self::with_state(settings, State::default())
    }

    /// A copy of everything as it is at this moment, for reading: nothing in it goes on.
    pub(crate) fn as_it_is_now(&self) -> Self {
        Self::with_state(self.inner.settings.clone(), self.lock().clone())
    }

    fn with_state(settings: Settings, state: State) -> Self {
        let names = Names {
            account_id: settings.account_id.clone(),
            region: settings.region.clone(),
        };
        Self {
            inner: Arc::new(Inner {
                settings,
                names,
                state: Mutex::new(state),
                pauses: Pauses::default(),
                running: TaskTracker::new(),
                killed: CancellationToken::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request of the ECS API.
    ///
    /// `operation` is the part of `X-Amz-Target` behind the dot, `request` the JSON body. The
    /// answer is the JSON body; time stamps are seconds since the epoch, as JSON 1.1 has them.
    pub async fn call(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        match operation {
            "ContinueServiceDeployment" => self.continue_service_deployment(request),
            "CreateCluster" => self.create_cluster(request),
            "CreateService" => self.create_service(request).await,
            "DeleteCluster" => self.delete_cluster(request),
            "DeleteService" => self.delete_service(request),
            "DeregisterTaskDefinition" => self.deregister_task_definition(request),
            "DescribeClusters" => self.describe_clusters(request),
            "DescribeServiceDeployments" => self.describe_service_deployments(request),
            "DescribeServiceRevisions" => self.describe_service_revisions(request),
            "DescribeServices" => self.describe_services(request),
            "DescribeTaskDefinition" => self.describe_task_definition(request),
            "DescribeTasks" => self.describe_tasks(request),
            "ListClusters" => self.list_clusters(request),
            "ListServiceDeployments" => self.list_service_deployments(request),
            "ListServices" => self.list_services(request),
            "ListTagsForResource" => self.list_tags_for_resource(request),
            "ListTaskDefinitions" => self.list_task_definitions(request),
            "ListTasks" => self.list_tasks(request),
            "RegisterTaskDefinition" => self.register_task_definition(request),
            "RunTask" => self.run_task(request),
            "StopServiceDeployment" => self.stop_service_deployment(request),
            "StopTask" => self.stop_task(request),
            "TagResource" => self.tag_resource(request),
            "UntagResource" => self.untag_resource(request),
            "UpdateService" => self.update_service(request).await,
            _ => Err(ApiError::client(
                "UnknownOperationException",
                format!("The local ECS does not know the operation {operation}."),
            )),
        }
    }

    /// Ends every service and kills every process of every task.
    pub async fn shut_down(&self) {
        self.inner.killed.cancel();
        self.inner.running.close();
        // Nothing of it blocks for long; the limit keeps a mistake here from hanging the end.
        let limit = Duration::from_secs(5);
        let ended = tokio::time::timeout(limit, self.inner.running.wait()).await;
        if ended.is_err() {
            tracing::error!("some tasks did not end in time");
        }
        let told = tokio::time::timeout(limit, self.inner.settings.event_bus.flush()).await;
        if told.is_err() {
            tracing::error!("some events were not delivered in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The API reference of each operation names its limit.
    #[tokio::test]
    async fn so_many_things_are_described_at_once_and_no_more() {
        let ecs = in_process::ecs(1.0).await;
        let of_a_kind = |kind: &str| format!("arn:aws:ecs:us-east-1:123456789012:{kind}/tests/x");
        for (operation, list, kind, limit) in [
            ("DescribeTasks", "tasks", "task", 100),
            ("DescribeServices", "services", "service", 10),
            (
                "DescribeServiceDeployments",
                "serviceDeploymentArns",
                "service-deployment",
                20,
            ),
            (
                "DescribeServiceRevisions",
                "serviceRevisionArns",
                "service-revision",
                20,
            ),
        ] {
            let describe = |count: usize| {
                let arns = vec![of_a_kind(kind); count];
                ecs.call(
                    operation,
                    json!({"cluster": in_process::CLUSTER, (list): arns}),
                )
            };
            let answer = describe(limit).await.unwrap();
            assert_eq!(answer["failures"].as_array().unwrap().len(), limit);
            let refused = describe(limit + 1).await.unwrap_err();
            assert_eq!(refused.name, "InvalidParameterException", "{operation}");
        }
    }
}

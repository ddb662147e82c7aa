//! What of a stack's releases is still in progress.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{DesiredStatus, Task};
use bluegreen_contract::PlannedService;
use bluegreen_ecs::Seen;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::BTreeSet;

/// DescribeTasks takes no more at once, and a page of ListTasks holds no more
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>).
const BATCH: usize = 100;

/// Tasks that have not stopped and deployments that are in progress.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) tasks: Vec<RunningTask>,
    pub(crate) services: Seen,
}

/// A task of the pipeline.
#[derive(Debug)]
pub(crate) struct RunningTask {
    pub(crate) cluster: String,
    pub(crate) arn: String,
    /// ECS's own word, e.g. `RUNNING`.
    pub(crate) status: String,
    /// It is told to stop already.
    pub(crate) is_stopping: bool,
}

impl Left {
    /// Looks in the clusters of the services, and at the services.
    pub(crate) async fn look(
        client: &Client,
        stack: &str,
        services: &[PlannedService],
    ) -> Result<Self, AwsRequestFailed> {
        let mut tasks = Vec::new();
        let clusters: BTreeSet<&str> = services
            .iter()
            .map(|service| service.cluster.as_str())
            .collect();
        for cluster in clusters {
            tasks.extend(running_tasks(client, cluster, stack).await?);
        }
        let asked = services
            .iter()
            .map(|service| (service.cluster.as_str(), service.service.as_str()));
        let services = Seen::look(client, asked).await?;
        Ok(Left { tasks, services })
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.tasks.is_empty() && self.services.deployments().is_empty()
    }
}

async fn running_tasks(
    client: &Client,
    cluster: &str,
    stack: &str,
) -> Result<Vec<RunningTask>, AwsRequestFailed> {
    let started_by = bluegreen_ecs::started_by(stack);
    let arns = list(client, cluster, &started_by).await?;
    let mut running = Vec::new();
    for batch in arns.chunks(BATCH) {
        let answer = client
            .describe_tasks()
            .cluster(cluster)
            .set_tasks(Some(batch.to_vec()))
            .send()
            .await
            .map_err(failed("ecs:DescribeTasks", batch.join(", ")))?;
        running.extend(
            answer
                .tasks()
                .iter()
                .filter(|task| task.started_by() == Some(&started_by))
                .filter(|task| task.last_status() != Some("STOPPED"))
                .filter_map(|task| running_task(cluster, task)),
        );
    }
    Ok(running)
}

fn running_task(cluster: &str, task: &Task) -> Option<RunningTask> {
    Some(RunningTask {
        cluster: cluster.to_owned(),
        arn: task.task_arn()?.to_owned(),
        status: task.last_status().unwrap_or("UNKNOWN").to_owned(),
        is_stopping: task.desired_status() == Some("STOPPED"),
    })
}

/// The stack's one-off tasks, those that are told to stop too: they may run on until they are killed.
///
/// The documentation of ListTasks wants `startedBy` to be the only filter, and without a desired status a
/// task that is told to stop is not listed. Clients that are in use combine the two
/// (<https://github.com/apache/airflow/blob/main/providers/amazon/src/airflow/providers/amazon/aws/operators/ecs.py>).
/// Where ECS refuses that, all tasks of the cluster that are told to stop are listed, among which those
/// of others are told by their description.
async fn list(
    client: &Client,
    cluster: &str,
    started_by: &str,
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut arns = listed(client, cluster, Some(started_by), None).await?;
    let stopping = Some(DesiredStatus::Stopped);
    let stopping = match listed(client, cluster, Some(started_by), stopping.clone()).await {
        Err(failure) if failure.code == "InvalidParameterException" => {
            listed(client, cluster, None, stopping).await?
        }
        listed => listed?,
    };
    arns.extend(stopping);
    Ok(arns)
}

/// The tasks with these filters; without a status, those that are to run.
async fn listed(
    client: &Client,
    cluster: &str,
    started_by: Option<&str>,
    status: Option<DesiredStatus>,
) -> Result<Vec<String>, AwsRequestFailed> {
    let mut arns = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .list_tasks()
            .cluster(cluster)
            .set_started_by(started_by.map(str::to_owned))
            .set_desired_status(status.clone())
            .set_next_token(next_token)
            .send()
            .await
            .map_err(failed("ecs:ListTasks", cluster))?;
        arns.extend(page.task_arns.unwrap_or_default());
        next_token = page.next_token.filter(|token| !token.is_empty());
        if next_token.is_none() {
            return Ok(arns);
        }
    }
}

//! Asking AWS for the status of a stack.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use aws_sdk_ecs::types::{self, ServiceRevisionSummary};
use aws_sdk_sfn::types::ExecutionStatus;
use bluegreen_contract::{Outcome, name_of};
use bluegreen_ecs::Seen;
use bluegreen_release::{Record, Turn, verdict};
use jiff::Timestamp;

use super::{
    Alarm, Deployment, Ended, Past, Release, Revision, Service, Status, Versions, Waiting, newest,
    version,
};
use crate::history::{Way, steps};
use crate::names::StackName;
use crate::pipeline::Pipeline;
use crate::services::services_of;
use crate::trouble::{asked, failed};
use crate::world::World;

/// The newest records, by which revisions are told apart and the last release is known.
const RECORDS: usize = 20;

/// Looks at a stack again and again.
#[derive(Debug)]
pub struct Reader {
    pipeline: Pipeline,
    stack: String,
    ecs: aws_sdk_ecs::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    /// ARNs of the cluster and of the service.
    services: Vec<(String, String)>,
    versions: Versions,
    ways: HashMap<String, Way>,
}

impl Reader {
    /// Begins with what does not change while a release runs.
    ///
    /// # Errors
    /// There is no such stack, or CloudFormation does not answer.
    pub async fn of(world: &World, pipeline: Pipeline, stack: &StackName) -> Result<Self> {
        let services = services_of(world, stack).await?;
        Ok(Self {
            pipeline,
            stack: stack.as_str().to_owned(),
            ecs: aws_sdk_ecs::Client::new(&world.config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&world.config),
            services,
            versions: Versions::default(),
            ways: HashMap::new(),
        })
    }

    /// How things are now. `watched` is the ARN of an execution that is told of whether it has the turn or not.
    ///
    /// # Errors
    /// AWS does not answer, or forbids it.
    pub async fn read(&mut self, watched: Option<&str>) -> Result<Status> {
        let turn = self.pipeline.table.turn(&self.stack).await.map_err(asked)?;
        let holder = turn.holder.as_ref().map(|holder| holder.execution.as_str());
        let shown = watched.or(holder).map(str::to_owned);
        // Somebody may have stopped the one that has the turn: the next release takes it over.
        let ended = match &shown {
            Some(execution) => self.ended(execution).await?,
            None => None,
        };
        self.versions = Versions::of(newest(&self.pipeline, &self.stack, RECORDS).await?);
        let release = match shown {
            Some(execution) => Some(self.release(&turn, execution, ended).await?),
            None => None,
        };
        let services = self.services.iter();
        let services = services.map(|(cluster, service)| (cluster.as_str(), service.as_str()));
        let seen = Seen::look(&self.ecs, services).await.map_err(asked)?;
        let alarms = self.alarms(&seen).await?;
        let is_closed = |record: &&Record| record.is_closed();
        Ok(Status {
            stack: self.stack.clone(),
            at: Timestamp::now(),
            release,
            waiting: waiting(&turn),
            serves: self.serves(&turn).await?,
            last: self.versions.records().iter().find(is_closed).map(Past::of),
            services: self.services(&seen),
            alarms,
        })
    }

    async fn release(
        &mut self,
        turn: &Turn,
        execution: String,
        ended: Option<(String, String)>,
    ) -> Result<Release> {
        let held = turn.holder.as_ref();
        let held = held.filter(|holder| holder.execution == execution);
        let record = match held {
            // What it waits for and its migration change while it has the turn.
            Some(holder) => {
                let table = &self.pipeline.table;
                let record = table.record(&self.stack, &holder.record).await;
                record.map_err(asked)?
            }
            None => self.record_of(&execution).cloned(),
        };
        let way = self.ways.entry(execution.clone()).or_default();
        way.follow(&self.pipeline.sfn, &execution).await?;
        let steps = steps(&way.stays);
        let record = record.unwrap_or_default();
        // Its record says more exactly how it ended than the execution does.
        let of_record = record.cause.clone().filter(|_| record.is_closed());
        let ended = ended.map(|(verdict, cause)| Ended {
            verdict: match of_record {
                Some(_) => record.verdict.clone(),
                None => verdict,
            },
            cause: of_record.unwrap_or(cause),
        });
        Ok(Release {
            name: name_of(&execution).to_owned(),
            execution,
            action: record.action,
            version: version(&record),
            commit: record.commit,
            started_by: record.started_by,
            steps,
            awaits: record.awaits,
            migration: record.migration,
            ended,
        })
    }

    fn record_of(&self, execution: &str) -> Option<&Record> {
        let mut records = self.versions.records().iter();
        records.find(|record| record.execution.as_deref() == Some(execution))
    }

    /// The verdict and the cause of an execution that has ended.
    async fn ended(&self, execution: &str) -> Result<Option<(String, String)>> {
        let described = self.pipeline.sfn.describe_execution();
        let described = described.execution_arn(execution).send().await;
        let described = described
            .map_err(|error| failed(error, "Step Functions does not tell of the execution"))?;
        Ok(match described.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => None,
            ExecutionStatus::Succeeded => {
                let output = described.output().unwrap_or_default();
                // An execution from before its output was of this form has succeeded all the same.
                Some(match serde_json::from_str::<Outcome>(output) {
                    Ok(outcome) => (outcome.verdict, outcome.reason),
                    Err(_) => (verdict::SUCCEEDED.to_owned(), String::new()),
                })
            }
            ExecutionStatus::Failed => {
                let cause = described.cause().unwrap_or("it gives no cause");
                Some(("failed".to_owned(), cause.to_owned()))
            }
            other => Some((
                verdict::ABANDONED.to_owned(),
                format!("Its execution ended as {other}."),
            )),
        })
    }

    async fn serves(&self, turn: &Turn) -> Result<Option<Past>> {
        let Some(current) = &turn.current else {
            return Ok(None);
        };
        let known = self
            .versions
            .records()
            .iter()
            .find(|it| it.key == current.record);
        if let Some(record) = known {
            return Ok(Some(Past::of(record)));
        }
        let table = &self.pipeline.table;
        let record = table.record(&self.stack, &current.record).await;
        Ok(record.map_err(asked)?.as_ref().map(Past::of))
    }

    fn services(&self, seen: &Seen) -> Vec<Service> {
        let found = self.services.iter().filter_map(|(_, arn)| {
            let service = seen.service(arn)?;
            let configuration = service.deployment_configuration();
            let strategy = configuration.and_then(|it| it.strategy());
            let deployment = seen.deployment(arn);
            let revisions = match deployment {
                Some(deployment) => self.moving(seen, deployment),
                None => self.at_rest(service),
            };
            Some(Service {
                name: service.service_name().unwrap_or(arn).to_owned(),
                strategy: strategy.map_or("ROLLING", |it| it.as_str()).to_owned(),
                deployment: deployment.map(|deployment| Deployment {
                    status: bluegreen_ecs::status(deployment).to_owned(),
                    lifecycle_stage: deployment
                        .lifecycle_stage()
                        .map(|stage| stage.as_str().to_owned()),
                }),
                revisions,
            })
        });
        found.collect()
    }

    /// The revisions between which a deployment moves.
    fn moving(&self, seen: &Seen, deployment: &types::ServiceDeployment) -> Vec<Revision> {
        let target = deployment.target_service_revision();
        let all = target
            .into_iter()
            .chain(deployment.source_service_revisions());
        let revision = |it: &ServiceRevisionSummary| {
            let task_definition = seen.task_definition(it.arn()?)?;
            Some(self.revision(
                task_definition,
                it.running_task_count(),
                it.requested_task_count(),
            ))
        };
        all.filter_map(revision).collect()
    }

    fn at_rest(&self, service: &types::Service) -> Vec<Revision> {
        let revision = |it: &types::Deployment| {
            let task_definition = it.task_definition()?;
            Some(self.revision(task_definition, it.running_count(), it.desired_count()))
        };
        service.deployments().iter().filter_map(revision).collect()
    }

    fn revision(&self, task_definition: &str, running: i32, desired: i32) -> Revision {
        Revision {
            version: self.versions.of_revision(task_definition),
            task_definition: task_definition.to_owned(),
            running,
            desired,
        }
    }

    async fn alarms(&self, seen: &Seen) -> Result<Vec<Alarm>> {
        let services = self.services.iter();
        let names: BTreeSet<String> = services
            .filter_map(|(_, arn)| seen.service(arn)?.deployment_configuration()?.alarms())
            .filter(|alarms| alarms.enable())
            .flat_map(|alarms| alarms.alarm_names().to_vec())
            .collect();
        let names: Vec<String> = names.into_iter().collect();
        let in_alarm = bluegreen_alarms::in_alarm(&self.cloudwatch, &names).await;
        let in_alarm = in_alarm.map_err(asked)?;
        let alarm = |name: String| Alarm {
            in_alarm: in_alarm.contains(&name),
            name,
        };
        Ok(names.into_iter().map(alarm).collect())
    }
}

fn waiting(turn: &Turn) -> Option<Waiting> {
    let waiting = turn.waiting.as_ref()?;
    // The order is the time of the push and the start of the execution.
    let since = waiting.order.rsplit('#').next().unwrap_or_default();
    let holder = turn.holder.as_ref();
    Some(Waiting {
        name: name_of(&waiting.execution).to_owned(),
        since: since.to_owned(),
        waits_for: holder.map(|holder| name_of(&holder.execution).to_owned()),
    })
}

//! What ECS knows of a task.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::health_check::HealthStatus;
use super::names;
use super::placement::Placement;
use super::task_definitions::{EnvironmentFile, EphemeralStorage, TaskDefinition};
use super::values::{KeyValue, Object, Tag, now, put, tags_to_json};

/// Tasks by their ids.
pub(in crate::ecs) type Tasks = HashMap<String, Task>;

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ecs) enum LastStatus {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl LastStatus {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// Why a task stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    Interrupted(Interruption),
}

impl StopCode {
    fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            Self::Interrupted(interruption) => interruption.as_str(),
        }
    }
}

/// Why AWS ends a task, by the stop code that says so.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html> (`stopCode`)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interruption {
    /// Fargate needs its spare capacity back.
    SpotInterruption,
    /// A Spot Instance has been told that it will end.
    TerminationNotice,
    /// What the task runs on is not healthy.
    InfrastructureHealth,
}

impl Interruption {
    pub(in crate::ecs) fn as_str(self) -> &'static str {
        match self {
            Self::SpotInterruption => "SpotInterruption",
            Self::TerminationNotice => "TerminationNotice",
            Self::InfrastructureHealth => "InfrastructureHealth",
        }
    }
}

/// What the target groups of a service say about a task, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ecs) enum TargetHealth {
    /// No target group has a say.
    None,
    /// Not registered yet, or not checked yet.
    Initial,
    Healthy,
    Unhealthy,
}

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Task {
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) id: String,
    pub(in crate::ecs) cluster_name: String,
    pub(in crate::ecs) cluster_arn: String,
    pub(in crate::ecs) definition: Arc<TaskDefinition>,
    pub(in crate::ecs) group: String,
    pub(in crate::ecs) started_by: Option<String>,
    /// What the request or the service says about where and how the task runs.
    pub(in crate::ecs) placement: Placement,
    pub(in crate::ecs) overrides: Object,
    pub(in crate::ecs) tags: Vec<Tag>,
    pub(in crate::ecs) owner: Option<Owner>,
    pub(in crate::ecs) address: IpAddr,
    attachment_id: String,
    pub(in crate::ecs) containers: Vec<Container>,
    pub(in crate::ecs) last_status: LastStatus,
    /// Whether ECS wants the task to run; once it does not, it never will again.
    pub(in crate::ecs) wanted: bool,
    pub(in crate::ecs) stop_code: Option<StopCode>,
    pub(in crate::ecs) stopped_reason: Option<String>,
    pub(in crate::ecs) target_health: TargetHealth,
    /// Why the target groups find the task unhealthy.
    pub(in crate::ecs) target_reason: String,
    pub(in crate::ecs) times: Times,
    pub(in crate::ecs) version: u64,
    pub(in crate::ecs) announced: AnnouncedTask,
    /// Cancelled when the task shall stop.
    pub(in crate::ecs) stop: CancellationToken,
}

/// What has been announced of a task.
#[derive(Clone, Debug, Default)]
pub(in crate::ecs) struct AnnouncedTask {
    pub(in crate::ecs) state: Option<TaskState>,
    pub(in crate::ecs) version: u64,
}

/// What a task state change is a change of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ecs) struct TaskState {
    pub(in crate::ecs) last_status: LastStatus,
    pub(in crate::ecs) wanted: bool,
    pub(in crate::ecs) containers: Vec<LastStatus>,
}

impl TaskState {
    pub(in crate::ecs) fn of(task: &Task) -> Self {
        let containers = task.containers.iter();
        Self {
            last_status: task.last_status,
            wanted: task.wanted,
            containers: containers.map(|container| container.last_status).collect(),
        }
    }
}

/// The service a task belongs to.
#[derive(Clone, Debug)]
pub(in crate::ecs) struct Owner {
    pub(in crate::ecs) service_arn: String,
    /// `ecs-svc/…`
    pub(in crate::ecs) deployment_id: String,
    /// Wakes the service's scheduler.
    pub(in crate::ecs) wake: Arc<Notify>,
    /// What the scheduler has taken note of already.
    pub(in crate::ecs) noted: Noted,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ecs) struct Noted {
    pub(in crate::ecs) registered: bool,
    pub(in crate::ecs) ran: bool,
    pub(in crate::ecs) healthy: bool,
    pub(in crate::ecs) failed: bool,
}

#[derive(Clone, Debug)]
pub(in crate::ecs) struct Container {
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) arn: String,
    pub(in crate::ecs) image: String,
    pub(in crate::ecs) image_digest: Option<String>,
    pub(in crate::ecs) last_status: LastStatus,
    pub(in crate::ecs) runtime_id: Option<String>,
    pub(in crate::ecs) exit_code: Option<i32>,
    pub(in crate::ecs) reason: Option<String>,
    /// What its health check has reported last.
    pub(in crate::ecs) health: Option<HealthStatus>,
    /// How often it has been started again.
    pub(in crate::ecs) restarts: u32,
}

impl Container {
    fn health_status(&self) -> HealthStatus {
        self.health.unwrap_or(HealthStatus::Unknown)
    }
}

/// Seconds since the epoch.
#[derive(Clone, Debug, Default)]
pub(in crate::ecs) struct Times {
    pub(in crate::ecs) created: f64,
    pub(in crate::ecs) connectivity: Option<f64>,
    pub(in crate::ecs) pull_started: Option<f64>,
    pub(in crate::ecs) pull_stopped: Option<f64>,
    pub(in crate::ecs) started: Option<f64>,
    pub(in crate::ecs) stopping: Option<f64>,
    pub(in crate::ecs) execution_stopped: Option<f64>,
    pub(in crate::ecs) stopped: Option<f64>,
}

/// What a new task is made of.
pub(in crate::ecs) struct NewTask {
    pub(in crate::ecs) cluster_name: String,
    pub(in crate::ecs) cluster_arn: String,
    pub(in crate::ecs) definition: Arc<TaskDefinition>,
    pub(in crate::ecs) group: String,
    pub(in crate::ecs) started_by: Option<String>,
    pub(in crate::ecs) placement: Placement,
    pub(in crate::ecs) overrides: Object,
    pub(in crate::ecs) tags: Vec<Tag>,
    pub(in crate::ecs) owner: Option<Owner>,
}

/// Overrides of one container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct ContainerOverride {
    #[serde(default)]
    pub(in crate::ecs) name: String,
    pub(in crate::ecs) command: Option<Vec<String>>,
    #[serde(default)]
    pub(in crate::ecs) environment: Vec<KeyValue>,
    /// In place of those of the container definition.
    pub(in crate::ecs) environment_files: Option<Vec<EnvironmentFile>>,
    pub(in crate::ecs) cpu: Option<i64>,
    pub(in crate::ecs) memory: Option<i64>,
    pub(in crate::ecs) memory_reservation: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ecs) struct Overrides {
    #[serde(default)]
    pub(in crate::ecs) container_overrides: Vec<ContainerOverride>,
    pub(in crate::ecs) execution_role_arn: Option<String>,
    pub(in crate::ecs) task_role_arn: Option<String>,
    pub(in crate::ecs) cpu: Option<String>,
    pub(in crate::ecs) memory: Option<String>,
    pub(in crate::ecs) ephemeral_storage: Option<EphemeralStorage>,
}

impl ContainerOverride {
    /// Whether it gives the container that environment variable.
    pub(in crate::ecs) fn sets(&self, variable: &str) -> bool {
        self.environment.iter().any(|pair| pair.name == variable)
    }
}

impl Task {
    pub(in crate::ecs) fn new(names: &names::Names, new: NewTask) -> Self {
        let id = names::unique_id();
        let containers = new
            .definition
            .details
            .container_definitions
            .iter()
            .map(|container| Container {
                name: container.name.clone(),
                arn: names.container(&new.cluster_name, &id),
                image: container.image.clone(),
                image_digest: None,
                last_status: LastStatus::Pending,
                runtime_id: None,
                exit_code: None,
                reason: None,
                health: None,
                restarts: 0,
            })
            .collect();
        Self {
            arn: names.task(&new.cluster_name, &id),
            id,
            cluster_name: new.cluster_name,
            cluster_arn: new.cluster_arn,
            definition: new.definition,
            group: new.group,
            started_by: new.started_by,
            placement: new.placement,
            overrides: new.overrides,
            tags: new.tags,
            owner: new.owner,
            address: crate::containers::network::task_address(),
            attachment_id: uuid::Uuid::new_v4().to_string(),
            containers,
            last_status: LastStatus::Provisioning,
            wanted: true,
            stop_code: None,
            stopped_reason: None,
            target_health: TargetHealth::None,
            target_reason: String::new(),
            times: Times {
                created: now(),
                ..Times::default()
            },
            version: 1,
            announced: AnnouncedTask::default(),
            stop: CancellationToken::new(),
        }
    }

    pub(in crate::ecs) fn read_overrides(&self) -> Overrides {
        serde_json::from_value(Value::Object(self.overrides.clone())).unwrap_or_default()
    }

    pub(in crate::ecs) fn desired_status(&self) -> &'static str {
        if self.wanted { "RUNNING" } else { "STOPPED" }
    }

    /// CPU and memory of the whole task, as numbers of units and MiB.
    pub(in crate::ecs) fn size(&self) -> (Option<String>, Option<String>) {
        let (overridden, details) = (self.read_overrides(), &self.definition.details);
        (
            overridden.cpu.or_else(|| details.cpu.clone()),
            overridden.memory.or_else(|| details.memory.clone()),
        )
    }

    /// Whether the processes have credentials: the task has a role.
    pub(in crate::ecs) fn has_role(&self) -> bool {
        let overridden = self.overrides.contains_key("taskRoleArn");
        overridden || self.definition.details.task_role_arn.is_some()
    }

    /// Asks the task to stop. Only the first reason counts.
    pub(in crate::ecs) fn request_stop(&mut self, code: StopCode, reason: &str) {
        if self.stop_code.is_none() {
            self.stop_code = Some(code);
            self.stopped_reason = Some(reason.to_owned());
        }
        if self.wanted {
            self.wanted = false;
            self.version += 1;
        }
        self.stop.cancel();
    }

    /// Changes the task; its version grows when that changes its description.
    pub(in crate::ecs) fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let (before, version) = (self.to_json(true), self.version);
        change(self);
        if self.version == version && self.to_json(true) != before {
            self.version += 1;
        }
    }

    /// The health of the essential containers that have a health check; `None` where none has
    /// one. It is this health that a service looks at.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
    /// (`minimumHealthyPercent`)
    pub(in crate::ecs) fn checked_health(&self) -> Option<HealthStatus> {
        let definitions = self.definition.details.container_definitions.iter();
        let checked = definitions
            .zip(&self.containers)
            .filter(|(definition, _)| definition.essential && definition.health_check.is_some());
        HealthStatus::combined(checked.map(|(_, container)| container.health_status()))
    }

    /// The health of all essential containers; one without a health check is UNKNOWN, and then
    /// the task is never HEALTHY.
    ///
    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
    fn health_status(&self) -> HealthStatus {
        let definitions = self.definition.details.container_definitions.iter();
        let essential = definitions
            .zip(&self.containers)
            .filter(|(definition, _)| definition.essential);
        let health = essential.map(|(_, container)| container.health_status());
        HealthStatus::combined(health).unwrap_or(HealthStatus::Unknown)
    }

    fn attachments(&self) -> Value {
        if !self.definition.uses_awsvpc() {
            return json!([]);
        }
        let status = match self.last_status {
            LastStatus::Provisioning => "PRECREATED",
            LastStatus::Deprovisioning | LastStatus::Stopped => "DELETED",
            _ => "ATTACHED",
        };
        let mut details = Vec::new();
        let network = self.placement.network_configuration.as_ref();
        let subnet = network.map(|network| &network["awsvpcConfiguration"]["subnets"][0]);
        if let Some(Value::String(subnet)) = subnet {
            details.push(json!({"name": "subnetId", "value": subnet}));
        }
        if self.last_status > LastStatus::Provisioning {
            // The address is where the task's ports really are.
            let interface = format!("eni-{}", &self.id[..17]);
            details.push(json!({"name": "networkInterfaceId", "value": interface}));
            let digits = self.id.as_bytes()[..10].chunks(2);
            let mac_address = digits.fold("0a".to_owned(), |start, two| {
                format!("{start}:{}", String::from_utf8_lossy(two))
            });
            details.push(json!({"name": "macAddress", "value": mac_address}));
            let address = self.address.to_string();
            details.push(json!({"name": "privateIPv4Address", "value": address}));
        }
        json!([{
            "id": self.attachment_id,
            "type": "ElasticNetworkInterface",
            "status": status,
            "details": details,
        }])
    }

    fn container_to_json(&self, container: &Container, overrides: &Overrides) -> Value {
        let definition = self.definition.container(&container.name);
        let mut overrides = overrides.container_overrides.iter();
        let overridden = overrides.find(|one| one.name == container.name);
        let mut answer = Object::new();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("containerArn", json!(container.arn));
        set("taskArn", json!(self.arn));
        set("name", json!(container.name));
        set("image", json!(container.image));
        set("lastStatus", json!(container.last_status.as_str()));
        set("networkBindings", json!([]));
        set("healthStatus", json!(container.health_status().as_str()));
        let cpu = overridden.and_then(|one| one.cpu);
        let cpu = cpu.or_else(|| definition.and_then(|definition| definition.cpu));
        set("cpu", json!(cpu.unwrap_or(0).to_string()));
        let interfaces =
            if self.definition.uses_awsvpc() && self.last_status > LastStatus::Provisioning {
                json!([{
                    "attachmentId": self.attachment_id,
                    "privateIpv4Address": self.address.to_string(),
                }])
            } else {
                json!([])
            };
        set("networkInterfaces", interfaces);
        put(&mut answer, "imageDigest", container.image_digest.clone());
        put(&mut answer, "runtimeId", container.runtime_id.clone());
        put(&mut answer, "exitCode", container.exit_code);
        put(&mut answer, "reason", container.reason.clone());
        let memory = overridden.and_then(|one| one.memory);
        let memory = memory.or_else(|| definition.and_then(|definition| definition.memory));
        put(&mut answer, "memory", memory.map(|size| size.to_string()));
        let reservation = overridden.and_then(|one| one.memory_reservation);
        let reservation =
            reservation.or_else(|| definition.and_then(|definition| definition.memory_reservation));
        let reservation = reservation.map(|size| size.to_string());
        put(&mut answer, "memoryReservation", reservation);
        Value::Object(answer)
    }

    pub(in crate::ecs) fn to_json(&self, with_tags: bool) -> Value {
        let overridden = self.read_overrides();
        let containers: Vec<Value> = self
            .containers
            .iter()
            .map(|container| self.container_to_json(container, &overridden))
            .collect();
        let mut overrides = self.overrides.clone();
        for list in ["containerOverrides", "inferenceAcceleratorOverrides"] {
            overrides.entry(list).or_insert(json!([]));
        }
        let tags = if with_tags { self.tags.as_slice() } else { &[] };
        let execute_command = self.placement.enable_execute_command.unwrap_or(false);
        let mut answer = Object::new();
        let mut set = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        set("taskArn", json!(self.arn));
        set("clusterArn", json!(self.cluster_arn));
        set("taskDefinitionArn", json!(self.definition.arn));
        set("containers", json!(containers));
        set("group", json!(self.group));
        set("lastStatus", json!(self.last_status.as_str()));
        set("desiredStatus", json!(self.desired_status()));
        set("overrides", Value::Object(overrides));
        set("attachments", self.attachments());
        set("attributes", json!([]));
        set("inferenceAccelerators", json!([]));
        set("healthStatus", json!(self.health_status().as_str()));
        set("enableExecuteCommand", json!(execute_command));
        set("createdAt", json!(self.times.created));
        set("tags", tags_to_json(tags));
        set("version", json!(self.version));
        let details = &self.definition.details;
        let (cpu, memory) = self.size();
        put(&mut answer, "cpu", cpu);
        put(&mut answer, "memory", memory);
        if !self.placement.needs_instances() {
            let asked = overridden.ephemeral_storage.as_ref();
            let asked = asked.or(details.ephemeral_storage.as_ref());
            let storage = EphemeralStorage::on_fargate(asked);
            put(&mut answer, "ephemeralStorage", Some(storage.clone()));
            put(&mut answer, "fargateEphemeralStorage", Some(storage));
        }
        put(&mut answer, "startedBy", self.started_by.clone());
        put(&mut answer, "launchType", Some(self.launch_type()));
        let provider = self.placement.capacity_provider();
        put(&mut answer, "capacityProviderName", provider);
        let platform = self.placement.described_platform_version();
        put(&mut answer, "platformVersion", platform);
        put(&mut answer, "platformFamily", platform.map(|_| "Linux"));
        put(
            &mut answer,
            "stopCode",
            self.stop_code.map(StopCode::as_str),
        );
        put(&mut answer, "stoppedReason", self.stopped_reason.clone());
        let times = &self.times;
        if self.definition.uses_awsvpc() {
            let zone = names::availability_zone(&self.arn);
            put(&mut answer, "availabilityZone", zone);
        }
        let connected = times.connectivity.map(|_| "CONNECTED");
        put(&mut answer, "connectivity", connected);
        for (name, time) in [
            ("connectivityAt", times.connectivity),
            ("pullStartedAt", times.pull_started),
            ("pullStoppedAt", times.pull_stopped),
            ("startedAt", times.started),
            ("stoppingAt", times.stopping),
            ("executionStoppedAt", times.execution_stopped),
            ("stoppedAt", times.stopped),
        ] {
            put(&mut answer, name, time);
        }
        Value::Object(answer)
    }

    /// A task on a Fargate capacity provider has the launch type FARGATE.
    pub(in crate::ecs) fn launch_type(&self) -> &str {
        let given = self.placement.launch_type.as_deref();
        given.unwrap_or(if self.placement.needs_instances() {
            "EC2"
        } else {
            "FARGATE"
        })
    }
}

use crate::failure::Failure;
use bluegreen_alarms::AlarmsInAlarm;
use bluegreen_contract::{
    InvalidInput, PlannedService, UpdateServiceInput, UpdatedService, UpdatedServices,
    WantedRevision, parse,
};
use bluegreen_ecr::EcrImage;
use bluegreen_ecs::{Family, Marks, RegisterFailure};
use bluegreen_release::{Beginning, Changing, Table};
use bluegreen_runtime::{AwsRequestFailed, LambdaCall, failed};
use serde_json::Value;

pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
}

/// Gives every service its revision with the image pinned.
///
/// All that can fail without touching a service comes first: alarms and services are looked at and
/// every revision is registered before the first service is updated. That a migration has exited 0 is
/// noted before all: it has, whatever comes of the services. A call that is made again finds
/// what was done before, and does only what is left.
///
/// `clock` tells the time in milliseconds since 1970.
pub(crate) async fn handle(
    clients: &Clients,
    payload: Value,
    call: &LambdaCall,
    clock: impl Fn() -> i64,
) -> Result<UpdatedServices, Failure> {
    let input: UpdateServiceInput = parse(payload)?;
    let image = image(&input)?;
    note_migrations(clients, &input).await?;
    check_alarms(clients, &input).await?;
    begin(clients, &input, None, call).await?;
    let updated = update(clients, &input, image, call).await;
    clients.table.finish(&input.release.stack, call).await;
    Ok(updated?.done(clock()))
}

/// Registers every revision, and then updates every service.
async fn update<'a>(
    clients: &Clients,
    input: &'a UpdateServiceInput,
    image: &'a str,
    call: &LambdaCall,
) -> Result<Update<'a>, Failure> {
    let planned = input.services.iter();
    let current = bluegreen_ecs::describe_services(
        &clients.ecs,
        planned.map(|service| (service.cluster.as_str(), service.service.as_str())),
    )
    .await?;
    let mut update = Update::new(input, image);
    for planned in &input.services {
        let current = current
            .get(&planned.service)
            .and_then(|service| Some((service.task_definition()?, service.desired_count() > 0)));
        let no_service = || update.refused(planned, "ECS has no such service.".to_owned());
        let (revision, has_tasks) = current.ok_or_else(no_service)?;
        let step = revision_for(&clients.ecs, &update, planned, revision).await?;
        let replaces_tasks = has_tasks && !step.is_done;
        update.steps.push(Step {
            replaces_tasks,
            ..step
        });
    }
    begin(clients, input, Some(&update.wanted()), call).await?;
    update.make(&clients.ecs).await?;
    Ok(update)
}

/// The image of the release.
fn image(input: &UpdateServiceInput) -> Result<&str, InvalidInput> {
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()));
    }
    let (Some(image), Some(repository)) = (&input.release.image, &input.release.repository) else {
        return Err(InvalidInput(
            "`release`: has no `image` and `repository`, as a rollback has none".to_owned(),
        ));
    };
    EcrImage::check_release(image, repository)
        .map_err(|problem| InvalidInput(format!("`release.image`: {problem}")))?;
    Ok(image)
}

async fn note_migrations(clients: &Clients, input: &UpdateServiceInput) -> Result<(), Failure> {
    let Some(migrations) = &input.migrations else {
        return Ok(());
    };
    let (release, execution) = (&input.release, &input.execution);
    clients
        .table
        .migrated(release, execution, migrations, input.migration.as_ref())
        .await?;
    Ok(())
}

/// An alarm that is in ALARM when a deployment begins makes ECS ignore all of them: a stack in alarm
/// is not deployed to.
///
/// A call that is made again is not refused for it. The call before may have updated services, and
/// a release that is refused is not rolled back; `verify-health` looks at the alarms again.
async fn check_alarms(clients: &Clients, input: &UpdateServiceInput) -> Result<(), Failure> {
    let alarms = bluegreen_alarms::in_alarm(&clients.cloudwatch, &input.alarms).await?;
    if alarms.is_empty() {
        return Ok(());
    }
    let release = &input.release;
    let record = clients
        .table
        .record(&release.stack, &release.record)
        .await?;
    if record.is_some_and(|record| record.touched == Some(input.execution.redrives)) {
        return Ok(());
    }
    Err(Failure::AlarmsInAlarm(AlarmsInAlarm {
        stack: release.stack.clone(),
        alarms,
    }))
}

async fn begin(
    clients: &Clients,
    input: &UpdateServiceInput,
    services: Option<&[WantedRevision]>,
    call: &LambdaCall,
) -> Result<(), Failure> {
    let beginning = Beginning {
        changing: Changing::Services,
        before: Some(&input.services),
        services,
        target: None,
        call,
    };
    clients
        .table
        .begin(&input.release, &input.execution, &beginning)
        .await?;
    Ok(())
}

/// What is to be done with the services of the input, in their order.
struct Update<'a> {
    input: &'a UpdateServiceInput,
    image: &'a str,
    steps: Vec<Step>,
}

struct Step {
    /// ARN of the revision that the service is to have.
    revision: String,
    /// The service has it: updated just now or by an earlier try of this very call.
    is_done: bool,
    /// This call replaces tasks with it.
    replaces_tasks: bool,
}

impl<'a> Update<'a> {
    fn new(input: &'a UpdateServiceInput, image: &'a str) -> Self {
        Update {
            input,
            image,
            steps: Vec::with_capacity(input.services.len()),
        }
    }

    fn wanted(&self) -> Vec<WantedRevision> {
        let services = self.input.services.iter().zip(&self.steps);
        services
            .map(|(planned, step)| WantedRevision {
                task_definition: step.revision.clone(),
                ..planned.into()
            })
            .collect()
    }

    async fn make(&mut self, client: &aws_sdk_ecs::Client) -> Result<(), Failure> {
        for at in 0..self.steps.len() {
            if self.steps[at].is_done {
                continue;
            }
            let planned = &self.input.services[at];
            let revision = &self.steps[at].revision;
            client
                .update_service()
                .cluster(&planned.cluster)
                .service(&planned.service)
                .task_definition(revision)
                .send()
                .await
                .map_err(failed("ecs:UpdateService", &planned.service))
                .map_err(|failure| self.not_updated(planned, failure))?;
            tracing::info!(
                service = planned.service,
                revision,
                "the service is updated"
            );
            self.steps[at].is_done = true;
        }
        Ok(())
    }

    fn done(self, at: i64) -> UpdatedServices {
        let services = self.input.services.iter().zip(self.steps);
        UpdatedServices {
            services: services
                .map(|(planned, step)| UpdatedService {
                    cluster: planned.cluster.clone(),
                    service: planned.service.clone(),
                    task_definition: step.revision,
                    previous_task_definition: planned.task_definition.clone(),
                    replaces_tasks: step.replaces_tasks,
                })
                .collect(),
            at,
            deadline: at + i64::from(self.input.deployment_seconds) * 1000,
            tries: 1,
        }
    }

    /// A refusal is final. Otherwise the same call may succeed later, and then does only what is
    /// left; until then somebody has to know what is done.
    fn not_updated(&self, planned: &PlannedService, mut failure: AwsRequestFailed) -> Failure {
        if failure.refused {
            return self.refused(planned, failure.to_string());
        }
        failure.message = format!(
            "{}; services that have their new revision: {}",
            failure.message.trim_end_matches('.'),
            self.names(true)
        );
        failure.into()
    }

    fn refused(&self, planned: &PlannedService, reason: String) -> Failure {
        Failure::ServiceUpdateRefused {
            service: planned.service.clone(),
            reason,
            updated: self.names(true),
            not_updated: self.names(false),
        }
    }

    /// The services that have their new revision, or those that do not.
    fn names(&self, done: bool) -> String {
        let is_done = |at: usize| self.steps.get(at).is_some_and(|step| step.is_done);
        let names: Vec<&str> = self
            .input
            .services
            .iter()
            .enumerate()
            .filter(|(at, _)| is_done(*at) == done)
            .map(|(_, service)| service.service.as_str())
            .collect();
        match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        }
    }
}

/// The revision that the service is to have, registered where there is none yet.
///
/// The service's revision is compared with the one it had when the release was planned:
/// - It is the same: the new revision is made of it.
/// - It is another one and has the image: an earlier try of this call has updated the service.
/// - Otherwise somebody has changed the service meanwhile. The new revision is made of theirs, so
///   that their change survives.
///
/// A service that already had the image when the release was planned (a deployment that stalled)
/// gets a new revision nevertheless: only that makes ECS deploy again.
async fn revision_for(
    client: &aws_sdk_ecs::Client,
    update: &Update<'_>,
    planned: &PlannedService,
    current: &str,
) -> Result<Step, Failure> {
    let input = update.input;
    let unchanged = current == planned.task_definition;
    let family = Family::of(client, current).await?;
    if !unchanged && family.revision.is_pinned_to(update.image) {
        return Ok(Step {
            revision: current.to_owned(),
            is_done: true,
            replaces_tasks: false,
        });
    }
    let marks = Marks {
        stack: &input.release.stack,
        execution: Some(&input.execution.id),
    };
    let revision = family
        .register_pinned(client, update.image, marks)
        .await
        .map_err(|failure| match failure {
            RegisterFailure::Request(failure) => failure.into(),
            nothing => update.refused(planned, format!("{nothing}.")),
        })?;
    Ok(Step {
        revision,
        is_done: false,
        replaces_tasks: false,
    })
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

use crate::failure::Failure;
use aws_sdk_ecs::Client;
use bluegreen_contract::{
    InvalidInput, PlannedService, UpdateServiceInput, UpdatedService, UpdatedServices, parse,
};
use bluegreen_runtime::{AwsRequestFailed, failed};
use bluegreen_ecr::EcrImage;
use bluegreen_ecs::{Family, Marks, RegisterFailure};
use serde_json::Value;

/// Gives every service its revision with the image pinned.
///
/// All that can fail without touching a service comes first: every service is looked at and every
/// revision is registered before the first service is updated.
pub(crate) async fn handle(client: &Client, event: Value) -> Result<UpdatedServices, Failure> {
    let input: UpdateServiceInput = parse(event)?;
    check(&input)?;
    let planned = input.services.iter();
    let current = bluegreen_ecs::describe_services(
        client,
        planned.map(|service| (service.cluster.as_str(), service.service.as_str())),
    )
    .await?;
    let mut release = Release::new(&input);
    for planned in &input.services {
        let current = current
            .get(&planned.service)
            .and_then(|service| service.task_definition())
            .ok_or_else(|| release.refused(planned, "ECS has no such service.".to_owned()))?;
        let step = revision_for(client, &release, planned, current).await?;
        release.steps.push(step);
    }
    release.update(client).await?;
    Ok(release.done())
}

/// What is to be done with the services of the input, in their order.
struct Release<'a> {
    input: &'a UpdateServiceInput,
    steps: Vec<Step>,
}

struct Step {
    /// ARN of the revision that the service is to have.
    revision: String,
    /// The service has it: updated just now or by an earlier try of this very call.
    is_done: bool,
}

impl<'a> Release<'a> {
    fn new(input: &'a UpdateServiceInput) -> Self {
        Release {
            input,
            steps: Vec::with_capacity(input.services.len()),
        }
    }

    async fn update(&mut self, client: &Client) -> Result<(), Failure> {
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

    fn done(self) -> UpdatedServices {
        let services = self.input.services.iter().zip(self.steps);
        UpdatedServices {
            services: services
                .map(|(planned, step)| UpdatedService {
                    cluster: planned.cluster.clone(),
                    service: planned.service.clone(),
                    task_definition: step.revision,
                    previous_task_definition: planned.task_definition.clone(),
                })
                .collect(),
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

fn check(input: &UpdateServiceInput) -> Result<(), InvalidInput> {
    if input.services.is_empty() {
        return Err(InvalidInput("`services`: there is none".to_owned()));
    }
    EcrImage::check_release(&input.image, &input.repository)
        .map_err(|problem| InvalidInput(format!("`image`: {problem}")))
}

/// The revision that the service is to have, registered where there is none yet.
///
/// The service's revision is compared with the one it had when the release was planned:
/// - It is the same: the migrated revision is made of it and is the one to deploy.
/// - It is another one and has the image: an earlier try of this call has updated the service.
/// - Otherwise somebody has changed the service meanwhile. The new revision is made of theirs, so
///   that their change survives.
///
/// A service that already had the image when the release was planned (a deployment that stalled)
/// gets a new revision nevertheless: only that makes ECS deploy again.
async fn revision_for(
    client: &Client,
    release: &Release<'_>,
    planned: &PlannedService,
    current: &str,
) -> Result<Step, Failure> {
    let input = release.input;
    let unchanged = current == planned.task_definition;
    let migrated = input
        .migrated
        .as_ref()
        .filter(|migrated| unchanged && migrated.service == planned.service);
    if let Some(migrated) = migrated {
        return Ok(Step {
            revision: migrated.task_definition.clone(),
            is_done: false,
        });
    }
    let family = Family::of(client, current).await?;
    if !unchanged && family.revision.is_pinned_to(&input.image) {
        return Ok(Step {
            revision: current.to_owned(),
            is_done: true,
        });
    }
    let marks = Marks {
        stack: &input.stack,
        execution: input.execution_id.as_deref(),
    };
    let revision = family
        .register_pinned(client, &input.image, marks)
        .await
        .map_err(|failure| match failure {
            RegisterFailure::Request(failure) => failure.into(),
            nothing => release.refused(planned, format!("{nothing}.")),
        })?;
    Ok(Step {
        revision,
        is_done: false,
    })
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

use crate::commands::{self, Commands};
use crate::decision::{self, Decision};
use crate::failure::Failure;
use crate::services::AppService;
use crate::stack::Stack;
use crate::{identity, image, image_parameters, migrations, outputs, repository, services};
use bluegreen_alarms::AlarmsInAlarm;
use bluegreen_contract::{
    Action, AlarmIsNoReason, Ending, ExecutionInput, ImageConfig, InvalidInput, Limits,
    NotContracted, Plan, PlanReleaseInput, PlannedService, Release, RequestedAction, Revision,
    TurnTaken, UpdatedService, UpdatedServices, parse,
};
use bluegreen_release::{Record, Table, Turn};
use bluegreen_runtime::{Web, now};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a plan is made from.
pub(crate) struct Sources {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) ecs: aws_sdk_ecs::Client,
    pub(crate) table: Table,
    /// Gets what ECR only gives an address of.
    pub(crate) web: Web,
    /// What the pipeline allows where the stack says nothing.
    pub(crate) defaults: Limits,
}

/// What a plan before found of things that never change.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    revisions: &'a [Revision],
    /// Of the release's image.
    image_configs: &'a [ImageConfig],
}

/// Plans before the turn is asked for, and once more with the turn in hand. Only reads.
pub(crate) async fn handle(sources: &Sources, event: Value) -> Result<Plan, Failure> {
    let input: PlanReleaseInput = parse(event)?;
    let mut request = identity::request(input.request)?;
    let release = identity::release(&request, &input.execution, &input.started_at)?;
    match (input.turn, input.plan) {
        (None, _) => {
            let plan = survey(sources, &request, release, Known::default()).await?;
            let decision = decision::before_the_turn(&plan);
            Ok(decided(plan, decision))
        }
        (Some(turn), Some(before)) if !turn.taken => Ok(without_turn(*before, turn)),
        (Some(turn), Some(before)) => {
            // A tag is resolved once: by what it has moved on to, another release was begun.
            request.digest = before.release.digest;
            let stack = release.stack.clone();
            let known = Known {
                revisions: &before.revisions,
                image_configs: &before.image_configs,
            };
            let survey = survey(sources, &request, release, known);
            let held = async { Ok(sources.table.turn(&stack).await?) };
            let (plan, held) = tokio::try_join!(survey, held)?;
            let plan = match request.migrate {
                Some(true) => plan,
                _ => migrations::left_out(plan, &held, &input.execution),
            };
            in_turn(sources, plan, &held, &turn).await
        }
        (Some(_), None) => {
            Err(InvalidInput("`plan`: the plan of before the turn is missing".to_owned()).into())
        }
    }
}

/// What is left of a plan without the turn: its end, as it was told before or by whom took its
/// place.
fn without_turn(before: Plan, turn: TurnTaken) -> Plan {
    let superseded = Ending::Superseded {
        by: turn.superseded_by,
    };
    Plan {
        action: Action::End,
        ending: Some(before.ending.unwrap_or(superseded)),
        revisions: vec![],
        image_configs: vec![],
        ..before
    }
}

async fn in_turn(
    sources: &Sources,
    plan: Plan,
    turn: &Turn,
    taken: &TurnTaken,
) -> Result<Plan, Failure> {
    let mut decision = decision::in_turn(&plan, turn, taken.touched, now());
    if matches!(
        decision.action,
        Action::Migrate | Action::Deploy | Action::Contract
    ) {
        let alarms = bluegreen_alarms::in_alarm(&sources.cloudwatch, &plan.alarms).await?;
        match (alarms.is_empty(), decision.action) {
            (true, _) => {}
            (false, Action::Contract) => decision = NotContracted::InAlarm(alarms).into(),
            (false, _) => {
                let stack = plan.release.stack;
                return Err(AlarmsInAlarm { stack, alarms }.into());
            }
        }
    }
    let mut plan = decided(plan, decision);
    if plan.action != Action::Settle {
        plan.revisions.clear();
        plan.image_configs.clear();
    }
    if plan.action == Action::Verify {
        plan.update = Some(as_it_runs(&plan));
    }
    Ok(plan)
}

fn decided(plan: Plan, Decision { action, ending }: Decision) -> Plan {
    Plan {
        action,
        ending,
        ..plan
    }
}

/// What there is to do by stack and account alone: `migrate`, `deploy`, `verify`, `rollback` or
/// `contract`. The alarm of a stack that the pipeline does not deploy to is none of its business: it ends
/// there.
async fn survey(
    sources: &Sources,
    request: &ExecutionInput,
    release: Release,
    known: Known<'_>,
) -> Result<Plan, Failure> {
    let planned = match request.action {
        RequestedAction::Deploy => deploy(sources, request, release.clone(), known).await,
        RequestedAction::Rollback => rollback(sources, release.clone(), known.revisions).await,
        RequestedAction::Contract => contract(sources, request, release.clone(), known).await,
    };
    match planned {
        Err(
            failure @ (Failure::NoServices { .. }
            | Failure::RepositoryNotLinked { .. }
            | Failure::UnsupportedDeploymentController { .. }
            | Failure::UnsupportedService { .. }),
        ) if release.alarm.is_some() => {
            let reason = failure.to_string();
            let why = AlarmIsNoReason::NotDeployedTo(reason.clone());
            let ending = Ending::NothingToRollBack { why };
            Ok(without_services(sources, release, reason, ending))
        }
        planned => planned,
    }
}

/// The plan of a release that ends before anything is asked of its services.
fn without_services(sources: &Sources, release: Release, reason: String, ending: Ending) -> Plan {
    Plan {
        action: Action::End,
        reason,
        release,
        ending: Some(ending),
        image_parameters: BTreeMap::new(),
        services: vec![],
        migration: None,
        migrations: None,
        post_deploy: None,
        contract: None,
        alarms: vec![],
        health_check_url: None,
        limits: sources.defaults,
        update: None,
        revisions: vec![],
        image_configs: vec![],
        notes: vec![],
    }
}

async fn deploy(
    sources: &Sources,
    request: &ExecutionInput,
    release: Release,
    known: Known<'_>,
) -> Result<Plan, Failure> {
    let stack = Stack::load(&sources.cloudformation, &release.stack).await?;
    let services = services::load(&sources.ecs, &stack, known.revisions).await?;
    let wanted = request.repository.as_deref();
    let repository = repository::choose(&sources.ecr, &stack, &services, wanted).await?;
    let owner = commands::other_owner(&stack, &services, &repository).map(str::to_owned);
    let revisions = revisions(&services);
    let unit = unit(services, &[&repository])?;
    repository::check_one_image(&stack, &unit, &repository)?;
    let commands_are_its_own = match owner {
        Some(owner) => !repository::is_linked(&sources.ecr, &stack.name, &unit, &owner).await?,
        None => true,
    };
    let stored = image::find(&sources.ecr, &repository, request).await?;
    let platforms = unit.iter().map(|service| service.platform().cloned());
    let image_configs = stored
        .configs(
            &sources.ecr,
            &sources.web,
            &platforms.collect(),
            known.image_configs,
        )
        .await?;
    let digest = stored.digest;
    let image = unit
        .iter()
        .find_map(|service| service.image(&repository, &digest));
    let commands = Commands {
        stack: &stack,
        services: &unit,
        repository: &repository,
        configs: &image_configs,
    };
    let allowed = outputs::allowed(&stack, &sources.defaults)?;
    // Without commands of its own an image is released with neither a migration nor a command after
    // it.
    let migration = match request.migrate {
        Some(false) => None,
        None if !commands_are_its_own => None,
        _ => commands.migration(allowed.limits.migration_seconds)?,
    };
    let post_deploy = match commands_are_its_own {
        true => commands.post_deploy(allowed.post_deploy_seconds)?,
        false => None,
    };
    let contract = match commands_are_its_own {
        true => commands.contract(allowed.contract_seconds)?,
        false => None,
    };
    let asked_to_migrate = request.migrate == Some(true) && migration.is_some();
    let (runs, reason) = runs(
        &stack,
        &unit,
        image.as_deref().unwrap_or_default(),
        asked_to_migrate,
    );
    let services = planned(&unit, &[&repository]);
    let migration = migration.filter(|_| !runs);
    let mut notes = image_parameters::of_others(&stack, &unit, &[&repository]);
    notes.extend(without_circuit_breaker(
        &unit,
        allowed.limits.deployment_seconds,
    ));
    let images_before = images(&unit, &[&repository]);
    Ok(Plan {
        notes,
        action: match (runs, &migration) {
            (true, _) => Action::Verify,
            (false, Some(_)) => Action::Migrate,
            (false, None) => Action::Deploy,
        },
        reason,
        ending: None,
        image_parameters: image_parameters::of(&stack, &unit, &[&repository]),
        migrations: migration
            .as_ref()
            .and_then(|_| migrations::of(&image_configs)),
        migration,
        post_deploy,
        contract,
        // Those that are to be ignored need not be quiet.
        alarms: match release.ignore_alarms {
            true => vec![],
            false => alarms(&unit),
        },
        health_check_url: outputs::health_check_url(&stack, &sources.web)?,
        limits: allowed.limits,
        update: None,
        services,
        revisions,
        release: Release {
            repository: Some(repository),
            digest: Some(digest),
            image,
            images_before,
            commit: bluegreen_ecr::commit(&image_configs),
            commit_url: bluegreen_ecr::commit_url(&image_configs),
            ..release
        },
        image_configs,
    })
}

/// The contract command of the release that serves.
async fn contract(
    sources: &Sources,
    request: &ExecutionInput,
    release: Release,
    known: Known<'_>,
) -> Result<Plan, Failure> {
    let turn = sources.table.turn(&release.stack).await?;
    let serving = serving(sources, &turn, request, &release.stack).await?;
    let Some(Serving {
        record,
        repository,
        digest,
    }) = serving
    else {
        let reason = format!("No release is known to serve in stack {}.", release.stack);
        let why = NotContracted::NoRelease;
        let ending = Ending::NothingToContract { why };
        return Ok(without_services(sources, release, reason, ending));
    };
    let asked = ExecutionInput {
        repository: Some(repository),
        tag: None,
        digest: Some(digest),
        migrate: Some(false),
        ..request.clone()
    };
    let release = Release {
        tag: record.tag,
        contracts: Some(record.key),
        ..release
    };
    let plan = deploy(sources, &asked, release, known).await?;
    let why = match (&plan.contract, plan.action) {
        (None, _) => Some(NotContracted::NoCommand),
        (_, Action::Verify) => decision::not_contracted(&plan, &turn, now()),
        _ => Some(NotContracted::NotServing(plan.reason.clone())),
    };
    Ok(Plan {
        action: match why {
            Some(_) => Action::End,
            None => Action::Contract,
        },
        ending: why.map(|why| Ending::NothingToContract { why }),
        post_deploy: None,
        migrations: None,
        ..plan
    })
}

/// A release that serves, and its image.
struct Serving {
    record: Record,
    repository: String,
    digest: String,
}

/// The release that the turn knows to serve: of the repository that is asked for, or else the one whose
/// contract command is due first, or else the current one.
async fn serving(
    sources: &Sources,
    turn: &Turn,
    request: &ExecutionInput,
    stack: &str,
) -> Result<Option<Serving>, Failure> {
    let wanted = request.repository.as_ref();
    let due = turn.contracts_due();
    let due = match wanted {
        Some(repository) => due.get(repository),
        None => due.values().min_by_key(|due| due.at),
    };
    let current = turn.current.as_ref().map(|current| &current.record);
    let Some(key) = due.map(|due| &due.release).or(current) else {
        return Ok(None);
    };
    let Some(record) = sources.table.record(stack, key).await? else {
        return Ok(None);
    };
    let known = record.repository.clone().zip(record.digest.clone());
    let known = known.filter(|(repository, _)| wanted.is_none_or(|wanted| wanted == repository));
    Ok(known.map(|(repository, digest)| Serving {
        record,
        repository,
        digest,
    }))
}

/// Back from whatever the services run now. Where to is not decided here.
async fn rollback(
    sources: &Sources,
    release: Release,
    known: &[Revision],
) -> Result<Plan, Failure> {
    let stack = Stack::load(&sources.cloudformation, &release.stack).await?;
    let services = services::load(&sources.ecs, &stack, known).await?;
    let repositories = repository::linked(&sources.ecr, &stack, &services, None).await?;
    let repositories: Vec<&str> = repositories.iter().map(String::as_str).collect();
    let revisions = revisions(&services);
    let unit = unit(services, &repositories)?;
    Ok(Plan {
        action: Action::Rollback,
        reason: format!("Stack {} is to go back to an earlier release.", stack.name),
        release: Release {
            images_before: images(&unit, &repositories),
            ..release
        },
        ending: None,
        image_parameters: image_parameters::of(&stack, &unit, &repositories),
        services: planned(&unit, &repositories),
        migration: None,
        migrations: None,
        post_deploy: None,
        contract: None,
        alarms: alarms(&unit),
        health_check_url: outputs::health_check_url(&stack, &sources.web)?,
        limits: outputs::allowed(&stack, &sources.defaults)?.limits,
        update: None,
        revisions,
        image_configs: vec![],
        notes: vec![],
    })
}

fn revisions(services: &[AppService]) -> Vec<Revision> {
    let revisions = services.iter().filter_map(AppService::revision);
    revisions.cloned().collect()
}

/// The services that run images of the repositories. They are released as one.
fn unit(services: Vec<AppService>, repositories: &[&str]) -> Result<Vec<AppService>, Failure> {
    let unit: Vec<AppService> = services
        .into_iter()
        .filter(|service| !service.containers_of(repositories).is_empty())
        .collect();
    for service in &unit {
        service.check_controller()?;
    }
    Ok(unit)
}

fn planned(unit: &[AppService], repositories: &[&str]) -> Vec<PlannedService> {
    unit.iter()
        .map(|service| service.planned(repositories))
        .collect()
}

/// A sentence where ECS would go on starting a version that crashes.
fn without_circuit_breaker(unit: &[AppService], deployment_seconds: u32) -> Option<String> {
    let without = unit
        .iter()
        .filter(|service| service.rolls_without_circuit_breaker());
    let without: Vec<&str> = without.map(|service| &*service.arn().service).collect();
    (!without.is_empty()).then(|| {
        format!(
            "A version that crashes is started again and again for {deployment_seconds} seconds (DeploymentTimeoutSeconds), since these services have no deployment circuit breaker: {}. Switch it on in their deployment configuration.",
            without.join(", ")
        )
    })
}

/// The images of the repositories that the services run, each once, in order.
fn images(unit: &[AppService], repositories: &[&str]) -> Vec<String> {
    let images: BTreeSet<&str> = unit
        .iter()
        .flat_map(|service| service.images_of(repositories))
        .collect();
    images.into_iter().map(str::to_owned).collect()
}

/// Names of the alarms of all services, each once, in order.
fn alarms(unit: &[AppService]) -> Vec<String> {
    let names: BTreeSet<&str> = unit.iter().flat_map(AppService::alarms).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// As `update-service` would answer for services that run their revisions already.
fn as_it_runs(plan: &Plan) -> UpdatedServices {
    let at = now();
    let services = plan.services.iter().map(|planned| UpdatedService {
        cluster: planned.cluster.clone(),
        service: planned.service.clone(),
        task_definition: planned.task_definition.clone(),
        previous_task_definition: planned.task_definition.clone(),
        replaces_tasks: false,
    });
    UpdatedServices {
        services: services.collect(),
        at,
        deadline: at + i64::from(plan.limits.deployment_seconds) * 1000,
        tries: 1,
    }
}

/// Whether the image runs already and nothing more is asked for, and why.
///
/// `"migrate": true` in the input asks for the migration also where the image already runs, which
/// is how the image that a stack was created with gets its migration.
fn runs(stack: &Stack, unit: &[AppService], image: &str, asked_to_migrate: bool) -> (bool, String) {
    let behind = unit.iter().filter(|service| !service.runs(image)).count();
    if behind > 0 {
        let reason = format!(
            "{behind} of {} services of stack {} do not run {image} yet.",
            unit.len(),
            stack.name
        );
        (false, reason)
    } else if asked_to_migrate {
        let reason = format!(
            "Every service of stack {} already runs {image}, but the input asks for its migration.",
            stack.name
        );
        (false, reason)
    } else {
        let reason = format!(
            "Every service of stack {} already runs {image} in a completed deployment.",
            stack.name
        );
        (true, reason)
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

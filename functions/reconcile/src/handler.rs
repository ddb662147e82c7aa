use crate::budget::Budget;
use crate::failure::Failure;
use crate::images::{self, Image};
use crate::known::Known;
use crate::repositories::{self, Repository};
use crate::retags;
use crate::unfinished::Unfinished;
use bluegreen_contract::{ExecutionInput, RequestedAction, name_in, started_by};
use bluegreen_release::{Search, Table};
use bluegreen_runtime::AwsRequestFailed;
use bluegreen_trigger::{StateMachine, TakenTags};
use serde::Serialize;
use std::collections::BTreeMap;

/// An event may take so many seconds; until then an image is not looked for.
const PATIENCE: i64 = 120;
/// So many milliseconds before Lambda ends the call nothing more is begun: a request that is under way then
/// may take half of it, and the one that notes how far the search has come the other half.
const RESERVE: i64 = 30_000;
/// Milliseconds that one repository may take, so that another has its turn in each search.
const FOR_ONE: i64 = 60_000;
/// Milliseconds.
const HOUR: i64 = 3_600_000;

/// The services that are asked, and the state machine that is started.
pub(crate) struct Context {
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) tagging: aws_sdk_resourcegroupstagging::Client,
    pub(crate) state_machine: StateMachine,
    pub(crate) releases: Table,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// ARNs of the executions of the pushes that were found, and of the contract commands that are due.
    pub(crate) executions: Vec<String>,
}

/// What a search has found so far.
#[derive(Default)]
struct Found {
    executions: Vec<String>,
    first_failure: Option<AwsRequestFailed>,
    unfinished: Unfinished,
    /// When the looks at repositories began that were finished.
    looked: BTreeMap<String, String>,
}

/// Looks at the newest image of every repository that names stacks, and whether a contract command is due
/// there, beginning where the last search had to stop. `until` is when Lambda ends the call; the clock tells
/// milliseconds since 1970.
///
/// One failure keeps nothing else from being looked at; the first is told in the end.
pub(crate) async fn handle(
    context: &Context,
    until: i64,
    clock: &dyn Fn() -> i64,
) -> Result<Answer, Failure> {
    let budget = Budget::new(clock, until - RESERVE);
    let mut found = Found::default();
    let linked = repositories::linked(&context.tagging);
    let begun = tokio::try_join!(linked, context.releases.last_search());
    let mut repositories = 0;
    match begun {
        Ok((linked, last)) => {
            repositories = linked.len();
            search(context, &linked, &last, &budget, &mut found).await;
        }
        Err(failure) => found.first_failure = Some(failure),
    }
    told(found, repositories)
}

fn told(found: Found, repositories: usize) -> Result<Answer, Failure> {
    let Found {
        executions,
        first_failure,
        unfinished,
        ..
    } = found;
    let unfinished = unfinished.sentences(repositories);
    let started = match executions.is_empty() {
        true => "none".to_owned(),
        false => executions.join(", "),
    };
    match first_failure {
        Some(failure) => Err(Failure::AwsRequestFailed {
            failure: Box::new(failure),
            unfinished,
            started,
        }),
        None if !unfinished.is_empty() => Err(Failure::SearchUnfinished {
            unfinished,
            started,
        }),
        None => Ok(Answer { executions }),
    }
}

async fn search(
    context: &Context,
    linked: &[Repository],
    last: &Search,
    budget: &Budget<'_>,
    found: &mut Found,
) {
    let ordered = ordered(linked, last.next.as_deref());
    for (number, repository) in ordered.iter().enumerate() {
        if budget.is_over() {
            found.unfinished.leave(&ordered[number..]);
            break;
        }
        let of_one = budget.at_most(FOR_ONE);
        match look_at(context, repository, last, &of_one, found).await {
            Ok(Look::Finished) => {}
            // It was begun too late: the next search gives it a repository's whole time.
            Ok(Look::OutOfTime) if budget.is_over() && number > 0 => {
                found.unfinished.leave(&ordered[number..]);
                break;
            }
            Ok(Look::OutOfTime) => found.unfinished.too_large.push(repository.name.clone()),
            Err(failure) => {
                found.first_failure.get_or_insert(failure);
            }
        }
    }
    let search = came_to(linked, last, found);
    if search != *last
        && let Err(failure) = context.releases.note_search(&search).await
    {
        found.first_failure.get_or_insert(failure);
    }
}

/// All repositories, beginning with `first` or what follows it.
fn ordered<'a>(linked: &'a [Repository], first: Option<&str>) -> Vec<&'a Repository> {
    let begin = linked.partition_point(|one| Some(one.name.as_str()) < first);
    let (later, earlier) = (&linked[begin..], &linked[..begin]);
    later.iter().chain(earlier).collect()
}

/// What the next search is to know. Of a repository that was not looked at it is what the last one knew.
fn came_to(linked: &[Repository], last: &Search, found: &Found) -> Search {
    let looked = linked.iter().filter_map(|Repository { name, .. }| {
        let looked = found.looked.get(name).or_else(|| last.looked.get(name))?;
        Some((name.clone(), looked.clone()))
    });
    Search {
        next: found.unfinished.left.first().cloned(),
        looked: looked.collect(),
    }
}

enum Look {
    Finished,
    OutOfTime,
}

async fn look_at(
    context: &Context,
    repository: &Repository,
    last: &Search,
    budget: &Budget<'_>,
    found: &mut Found,
) -> Result<Look, AwsRequestFailed> {
    let Repository { name, stacks } = repository;
    let began = budget.now() / 1000;
    let images = images::tagged(&context.ecr, name, budget).await?;
    let now = images::whole_seconds(began).unwrap_or_default();
    let looked = last.looked.get(name).map(String::as_str);
    let arrivals = match images {
        Some(images) => Some(arrivals(context, name, images, looked, &now).await?),
        None => None,
    };
    let mut first_failure = None;
    for stack in stacks {
        let now = budget.now();
        for started in start_in(context, name, arrivals.as_deref(), stack, now).await {
            match started {
                Ok(execution) => found.executions.extend(execution),
                Err(failure) => {
                    first_failure.get_or_insert(failure);
                }
            }
        }
    }
    if arrivals.is_some() {
        found.looked.insert(name.clone(), now);
    }
    match first_failure {
        Some(failure) => Err(failure),
        None if arrivals.is_none() => Ok(Look::OutOfTime),
        None => Ok(Look::Finished),
    }
}

/// Starts what there is to do in a stack. `arrivals` are not known where there was no time to read them;
/// `now` in milliseconds since 1970.
async fn start_in(
    context: &Context,
    repository: &str,
    arrivals: Option<&[Image]>,
    stack: &str,
    now: i64,
) -> Vec<Result<Option<String>, AwsRequestFailed>> {
    let known = match Known::load(&context.releases, stack).await {
        Ok(known) => known,
        Err(failure) => return vec![Err(failure)],
    };
    let mut started = vec![contract(context, repository, stack, &known, now).await];
    if let Some(arrivals) = arrivals {
        started.push(release_into(context, repository, arrivals, stack, &known).await);
    }
    started
}

/// Starts the contract command of the release that serves, where its time has come; `now` in milliseconds
/// since 1970. Where it is not run, because an alarm is in ALARM for instance, it is started again in the
/// next hour, under another name.
async fn contract(
    context: &Context,
    repository: &str,
    stack: &str,
    known: &Known<'_>,
    now: i64,
) -> Result<Option<String>, AwsRequestFailed> {
    let Some(due) = known.contract_due(repository).filter(|due| due.at <= now) else {
        return Ok(None);
    };
    let hour = (now / HOUR).to_string();
    let identity = [stack, repository, &due.release, &hour];
    let name = bluegreen_trigger::name(stack, "contract", &identity);
    let input = ExecutionInput {
        stack: stack.to_owned(),
        action: RequestedAction::Contract,
        repository: Some(repository.to_owned()),
        started_by: Some(started_by(&format!(
            "reconciler: {} is not rolled back by an alarm any more",
            name_in(&due.release)
        ))),
        ..ExecutionInput::default()
    };
    let execution =
        bluegreen_trigger::start(&context.sfn, &context.state_machine, &name, &input).await?;
    tracing::info!(stack, repository, execution, "a contract command is due");
    Ok(Some(execution))
}

/// What has come into the repository long enough ago that its event should have led to a release, the newest
/// first: images that were pushed, and those that were given a tag since the last look.
async fn arrivals(
    context: &Context,
    repository: &str,
    images: Vec<Image>,
    looked: Option<&str>,
    now: &str,
) -> Result<Vec<Image>, AwsRequestFailed> {
    let before = context.releases.seen_tags(repository).await?;
    let seen = retags::compare(&before, looked, &images, now);
    if before.is_first() || seen != before {
        let releases = &context.releases;
        releases.note_seen_tags(repository, &before, &seen).await?;
    }
    let due = images::before(now, PATIENCE);
    let mut arrivals = images;
    arrivals.retain(|image| image.pushed_at <= due);
    arrivals.extend(retags::arrivals(&seen, &due));
    images::sort(&mut arrivals);
    Ok(arrivals)
}

/// Starts the release of the newest image that the stack takes, where nobody has heard of it yet.
async fn release_into(
    context: &Context,
    repository: &str,
    images: &[Image],
    stack: &str,
    known: &Known<'_>,
) -> Result<Option<String>, AwsRequestFailed> {
    let mut newer = images
        .iter()
        .take_while(|image| known.is_newer(repository, &image.pushed_at))
        .peekable();
    if newer.peek().is_none() {
        return Ok(None);
    }
    let taken = TakenTags::load(&context.cloudformation, stack).await?;
    // The push that was heard of waits for CloudFormation, and is not in the table until then.
    if taken.is_changing {
        return Ok(None);
    }
    let takes = |tag: &&String| taken.reason_to_skip(tag).is_none();
    for image in newer {
        let Some(tag) = image.tags.iter().find(takes) else {
            continue;
        };
        if known.has(image).await? {
            return Ok(None);
        }
        let execution = start(context, repository, image, tag, stack).await?;
        tracing::info!(stack, repository, tag, execution, "a lost push is found");
        return Ok(Some(execution));
    }
    Ok(None)
}

/// The same push found once more gives the same name, and starts nothing new.
async fn start(
    context: &Context,
    repository: &str,
    image: &Image,
    tag: &str,
    stack: &str,
) -> Result<String, AwsRequestFailed> {
    let identity = [stack, repository, tag, &image.digest, &image.pushed_at];
    let name = bluegreen_trigger::name(stack, tag, &identity);
    let input = ExecutionInput {
        stack: stack.to_owned(),
        tag: Some(tag.to_owned()),
        digest: Some(image.digest.clone()),
        repository: Some(repository.to_owned()),
        pushed_at: Some(image.pushed_at.clone()),
        started_by: Some(started_by(&format!("reconciler: lost push of {tag}"))),
        ..ExecutionInput::default()
    };
    bluegreen_trigger::start(&context.sfn, &context.state_machine, &name, &input).await
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

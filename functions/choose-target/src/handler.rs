use crate::failure::{Failure, Reason};
use crate::target::{self, Choice, Releases, Why};
use bluegreen_contract::{
    Action, ChooseTargetInput, GoodRelease, InvalidInput, ServingImage, Target, WantedRevision,
    parse,
};
use bluegreen_release::Table;
use bluegreen_runtime::AwsRequestFailed;
use serde_json::Value;

/// Chooses where the services go back to, by the records of the stack's releases.
pub(crate) async fn handle(table: &Table, event: Value) -> Result<Target, Failure> {
    let input: ChooseTargetInput = parse(event)?;
    let target = match input.failed {
        true => after_failure(table, &input).await?,
        false => when_asked(table, &input).await?,
    };
    let release = target.release.as_ref().map(|release| &release.record);
    tracing::info!(
        release,
        target.unread,
        "where the services go back to is chosen"
    );
    Ok(target)
}

/// Only from the table it is known where a rollback leads that somebody asked for. Nothing has been
/// changed yet: where the table does not answer, nothing is.
async fn when_asked(table: &Table, input: &ChooseTargetInput) -> Result<Target, Failure> {
    let release = &input.plan.release;
    let turn = table.turn(&release.stack).await?;
    let current = match turn.current {
        Some(current) => table.record(&release.stack, &current.record).await?,
        None => None,
    };
    let current = current.and_then(target::Release::of);
    let why = Why::Asked {
        to: release.to.as_deref(),
        current: current.as_ref(),
    };
    let mut read = Vec::new();
    let Choice::Release(chosen) = search(table, input, why, &mut read).await? else {
        let reason = match &release.to {
            Some(name) => Reason::NoSuchRelease { name: name.clone() },
            None => Reason::NoEarlierRelease,
        };
        return Err(nothing(input, reason));
    };
    let then = revisions(table, input, &chosen).await?;
    let services = target::when_asked(&now(input), &then);
    if services.is_empty() {
        let reason = Reason::NoServiceLeft {
            release: chosen.called().to_owned(),
            name: chosen.name,
        };
        return Err(nothing(input, reason));
    }
    Ok(to_release(true, &chosen, services, &read))
}

/// What the services ran before a release that failed is known from its plan. The table says whether
/// that was good; where it does not answer, the services go back all the same.
async fn after_failure(table: &Table, input: &ChooseTargetInput) -> Result<Target, Failure> {
    let Some(repository) = input.plan.release.repository.as_deref() else {
        let problem = "`plan.release.repository`: only a deployment is taken back when it fails";
        return Err(InvalidInput(problem.to_owned()).into());
    };
    // Nobody has found healthy yet what is verified.
    let suspect = input.touched || input.plan.action == Action::Verify;
    let why = Why::Failed {
        repository,
        suspect,
    };
    let mut read = Vec::new();
    match search(table, input, why, &mut read).await {
        Ok(Choice::Release(chosen)) => {
            let then = revisions(table, input, &chosen).await?;
            let services = target::after_failure(&now(input), &then);
            Ok(to_release(false, &chosen, services, &read))
        }
        Ok(Choice::Before { serving }) => Ok(to_before(input, serving, false)),
        Ok(Choice::Nowhere) => Err(nothing(input, Reason::NothingKnown)),
        Err(failure) => {
            let Some(unread) = target::before_unread(repository, suspect, &read) else {
                return Err(failure.into());
            };
            tracing::warn!(%failure, "the services go back without the table");
            Ok(to_before(input, None, !unread.vouched))
        }
    }
}

/// Reads releases into `read` until one can be chosen.
async fn search(
    table: &Table,
    input: &ChooseTargetInput,
    why: Why<'_>,
    read: &mut Vec<target::Release>,
) -> Result<Choice, AwsRequestFailed> {
    let own = &input.plan.release;
    let mut records = table.records(&own.stack);
    loop {
        let record = records.next().await?;
        let all = record.is_none();
        let release = record
            .filter(|record| record.key != own.record)
            .and_then(target::Release::of);
        if !all && release.is_none() {
            continue;
        }
        read.extend(release);
        if let Some(choice) = target::choose(why, Releases { read, all }) {
            return Ok(choice);
        }
    }
}

/// What the chosen release ran.
async fn revisions(
    table: &Table,
    input: &ChooseTargetInput,
    chosen: &target::Release,
) -> Result<Vec<WantedRevision>, AwsRequestFailed> {
    let stack = &input.plan.release.stack;
    let record = table.record(stack, &chosen.record).await?;
    Ok(record.map(|record| record.services).unwrap_or_default())
}

/// What the services ran when the release was planned.
fn now(input: &ChooseTargetInput) -> Vec<WantedRevision> {
    let services = input.plan.services.iter();
    services.map(WantedRevision::from).collect()
}

fn to_release(
    requested: bool,
    chosen: &target::Release,
    services: Vec<WantedRevision>,
    read: &[target::Release],
) -> Target {
    Target {
        requested,
        release: Some(GoodRelease::from(chosen)),
        serving: Some(chosen.serving()),
        services,
        migrations: target::migrations(read, chosen),
        unread: false,
    }
}

fn to_before(input: &ChooseTargetInput, serving: Option<ServingImage>, unread: bool) -> Target {
    Target {
        requested: false,
        release: None,
        serving,
        services: now(input),
        migrations: Vec::new(),
        unread,
    }
}

fn nothing(input: &ChooseTargetInput, reason: Reason) -> Failure {
    Failure::NothingToGoBackTo {
        stack: input.plan.release.stack.clone(),
        reason,
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;

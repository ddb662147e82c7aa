//! The changes of the table. Each is a plain function of what was read, and its conditions are that
//! it still is as it was read. `now` and `until` are milliseconds since 1970.

use crate::attributes::Value;
use crate::record::verdict;
use crate::time::rfc3339;
use crate::transaction::{Attributes, Change, Condition, Effect, Transaction};
use crate::turn::{
    CONTRACT_DUE, CONTRACTED, ContractDue, Contracted, DEPLOYED, GOES_BACK, Holder, MIGRATED,
    Migrated, NO_DIGEST, NOT_DUE, TURN, Turn, VERIFIED,
};
use crate::{Record, Retention, Seconds};
use bluegreen_contract::{
    Command, Execution, Goal, Migrations, PlannedService, Release, RequestedAction, TakeTurnInput,
    WantedRevision, name_in,
};
use bluegreen_runtime::LambdaCall;
use serde::Serialize;

/// What a function is about to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changing {
    /// It starts the migration.
    Migration,
    /// It updates the services.
    Services,
    /// It brings the services back.
    Rollback,
    /// It starts the post-deploy command.
    PostDeploy,
    /// It starts the contract command.
    Contract,
    /// It deregisters revisions that are not in service.
    Revisions,
}

impl Changing {
    fn name(self) -> &'static str {
        match self {
            Changing::Migration => "migration",
            Changing::Services => "services",
            Changing::Rollback => "rollback",
            Changing::PostDeploy => "postDeploy",
            Changing::Contract => "contract",
            Changing::Revisions => "revisions",
        }
    }
}

/// What a function writes before its first call that changes anything.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    pub changing: Changing,
    /// What the services were before this release, where that is known. What was written before this
    /// release first touched a service stays.
    pub before: Option<&'a [PlannedService]>,
    /// The revisions that the services are to run, where they are known.
    pub services: Option<&'a [WantedRevision]>,
    /// What a requested rollback brings back.
    pub target: Option<Goal<'a>>,
    /// The call that changes it: until it is over nobody else gets the turn, and no other call of
    /// this release changes anything.
    pub call: &'a LambdaCall,
}

/// Another call of the same try of an execution may still change something: Step Functions has lost
/// its connection to that one, and has called again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "An earlier call by the execution {execution} may still change stack {stack}, until {} at the latest. This call has changed nothing.",
    rfc3339(*.until)
)]
pub struct CallInProgress {
    pub execution: String,
    pub stack: String,
    /// Milliseconds since 1970.
    pub until: i64,
}

/// What is in service from now on.
#[derive(Debug, Clone, Copy)]
pub enum Serves<'a> {
    /// The image of this release.
    Deployment {
        services: &'a [WantedRevision],
        /// When the services were updated.
        from: i64,
    },
    /// What a person or an alarm wanted back.
    Rollback {
        target: Goal<'a>,
        services: &'a [WantedRevision],
        /// When the rollback was begun.
        from: i64,
    },
    /// What was in service before this release, which failed.
    Before { services: &'a [WantedRevision] },
    /// What was in service and was asked for again.
    Same,
}

/// How a release ends.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// `nothingToRollBack` and `nothingToContract` leave no record.
    pub verdict: &'a str,
    pub cause: &'a str,
    pub error: Option<&'a str>,
    pub seconds: &'a Seconds,
    /// Something may be in progress that nobody waits for.
    pub left_running: bool,
}

/// A release whose execution ended without giving the turn back.
#[derive(Debug, Clone, Copy)]
pub struct Dead<'a> {
    pub holder: &'a Holder,
    /// Its record, if there is one.
    pub record: Option<&'a Record>,
    /// How its execution ended: Step Functions' word, or `GONE`.
    pub status: &'a str,
}

const CHANGING_BY: &str = "changingBy";
const CHANGING_UNTIL: &str = "changingUntil";
/// What says that a call is about to change something.
const CHANGING: [&str; 2] = [CHANGING_BY, CHANGING_UNTIL];
/// What one try has written of what it does. Nothing of it goes for the next.
const OF_A_TRY: [&str; 3] = [CHANGING_BY, CHANGING_UNTIL, GOES_BACK];
const HELD: [&str; 7] = [
    "holder",
    "heldSince",
    "heldRecord",
    "heldDigest",
    "heldRedrives",
    "heldOrder",
    "heldFor",
];
/// What somebody has to do before a deployment goes on.
const AWAITS: &str = "awaits";
const IN_LINE: [&str; 4] = ["waiting", "waitingOrder", "waitingDigest", "waitingFor"];

/// Takes the place in line, if it still is as it was seen.
#[must_use]
pub fn stand_in_line(turn: &Turn, me: &TakeTurnInput) -> Transaction {
    let seen = turn.waiting.as_ref();
    let conditions = vec![
        Condition::as_seen("waiting", seen.map(|other| other.execution.as_str())),
        Condition::as_seen("waitingOrder", seen.map(|other| other.order.as_str())),
    ];
    let attributes = Attributes::default()
        .set("waiting", me.execution.id.as_str())
        .set("waitingOrder", me.release.order.as_str())
        .set(
            "waitingDigest",
            digest_or_none(me.release.digest.as_deref()),
        )
        .set("waitingFor", me.release.waits_for());
    on_turn(&me.release.stack, conditions, attributes)
}

/// Takes the turn that nobody has. `record` is one's own, as an earlier try of the execution left
/// it.
#[must_use]
pub fn take(
    turn: &Turn,
    record: Option<&Record>,
    me: &TakeTurnInput,
    now: i64,
    retention: Retention,
) -> Transaction {
    let mut conditions = vec![Condition::Absent("holder")];
    conditions.extend(place_in_line(turn, me));
    let mut transaction = on_turn(&me.release.stack, conditions, held(me, now));
    transaction.changes.push(open(record, me, now, retention));
    transaction
}

/// Takes the turn of a release whose execution is dead, as it was seen, and closes its record.
#[must_use]
pub fn take_over(
    turn: &Turn,
    record: Option<&Record>,
    dead: &Dead<'_>,
    me: &TakeTurnInput,
    now: i64,
    retention: Retention,
) -> Transaction {
    let mut conditions = as_held(dead.holder);
    conditions.extend(place_in_line(turn, me));
    let attributes = held(me, now).set("unsettled", dead.holder.execution.as_str());
    let mut transaction = on_turn(&me.release.stack, conditions, attributes);
    transaction.changes.push(open(record, me, now, retention));
    let is_current = turn
        .current
        .as_ref()
        .is_some_and(|current| current.record == dead.holder.record);
    transaction
        .changes
        .extend(abandon(dead, is_current, now, retention));
    transaction
}

/// Makes the turn this try's, which an earlier try of the same execution had.
#[must_use]
pub fn retake(holder: &Holder, me: &TakeTurnInput, now: i64) -> Transaction {
    let attributes = Attributes::default()
        .set("heldRedrives", me.execution.redrives)
        .set("heldSince", rfc3339(now))
        .set("unsettled", me.execution.id.as_str())
        .remove(OF_A_TRY);
    on_turn(&me.release.stack, as_held(holder), attributes)
}

/// Proves that this try has the turn and writes what it is about to change; `None`: it has not, or a call
/// that came late would bring forward what this try has begun to take back. `now` in milliseconds since
/// 1970.
///
/// # Errors
/// [`CallInProgress`].
pub fn begin(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    beginning: &Beginning<'_>,
    now: i64,
) -> Result<Option<Transaction>, CallInProgress> {
    let Some(mut transaction) = alone(turn, release, execution, beginning.call, now)? else {
        return Ok(None);
    };
    let goes_back = turn.holder.as_ref().is_some_and(|holder| holder.goes_back);
    match beginning.changing {
        Changing::Migration | Changing::Services if goes_back => return Ok(None),
        Changing::Rollback => {
            let goes_back = execution.id.as_str();
            also(
                &mut transaction,
                Attributes::default().set(GOES_BACK, goes_back),
            );
        }
        _ => {}
    }
    let images = beginning.before.map(|_| release.images_before.as_slice());
    // To register a revision touches no service.
    let touches = beginning.changing == Changing::Rollback || beginning.services.is_some();
    let mut attributes = Attributes::default()
        .set("changing", beginning.changing.name())
        .first_some("before", beginning.before.map(json))
        .first_some("imagesBefore", images.map(json))
        .set_some("services", beginning.services.map(json))
        .and(beginning.target.map(restoring).unwrap_or_default())
        .and(brought_by(release))
        .remove([AWAITS]);
    if touches {
        attributes = attributes.first("touched", execution.redrives);
    }
    if beginning.changing == Changing::Migration {
        // What it leaves in the database is known when it has exited 0, and not before.
        also(&mut transaction, Attributes::default().remove([MIGRATED]));
    }
    if let (Changing::Contract, Some(contracts)) = (beginning.changing, &release.contracts) {
        also(&mut transaction, contracted(turn, release, contracts));
        attributes = attributes.set("contracts", contracts.as_str());
    }
    transaction.changes.push(on_record(release, attributes));
    Ok(Some(transaction))
}

/// Proves that this try has the turn, and that it is about to stop what an earlier release left;
/// `None`: it has not, or nothing is left. Several calls may do that at once: `until` is when Lambda
/// ends this one.
#[must_use]
pub fn begin_settling(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    until: i64,
) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let mut conditions = as_held(holder);
    // A look that is late stops nothing of this very release, which has gone on since.
    conditions.push(Condition::equals("unsettled", turn.unsettled.as_deref()?));
    let mut transaction = on_turn(&release.stack, conditions, changing(holder, until));
    let attributes = Attributes::default()
        .set("changing", "settling")
        .and(brought_by(release));
    transaction.changes.push(on_record(release, attributes));
    Some(transaction)
}

/// Notes that the call with this id changes nothing any more. Where another one was begun since,
/// that one's note stays.
#[must_use]
pub fn finish(stack: &str, call: &str) -> Transaction {
    let conditions = vec![Condition::equals(CHANGING_BY, call)];
    on_turn(stack, conditions, Attributes::default().remove(CHANGING))
}

/// Notes the task that runs the migration; `None`: this try has not the turn.
#[must_use]
pub fn started_migration(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    task: &str,
    line: &[String],
) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let attributes = Attributes::default()
        .set("migrationCommand", json(line))
        .set("migration", task);
    let note = on_record(release, attributes);
    Some(in_turn(&release.stack, note, holder))
}

/// Notes which migrations the stack's database has, as the image says: those of this release, whose
/// `command` has exited 0, or whose migration was left out for the same ones. `None`: this try has not
/// the turn, or the stack does not have them.
#[must_use]
pub fn migrated(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    migrations: &Migrations,
    command: Option<&Command>,
) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let of_stack = match command {
        Some(command) => Migrated {
            release: execution.name().to_owned(),
            repository: release.repository.clone().unwrap_or_default(),
            fingerprint: migrations.fingerprint.clone(),
            service: command.service.clone(),
            container: command.container.clone(),
            line: command.line.clone(),
        },
        // It stays as it is: to write it once more proves the turn.
        None => turn.migrated.clone()?,
    };
    let attributes = Attributes::default().set(MIGRATED, json(&of_stack));
    let mut transaction = on_turn(&release.stack, as_held(holder), attributes);
    let other = migrations.same_as.as_deref();
    let of_record = Attributes::default()
        .set("migrations", migrations.fingerprint.as_str())
        .set_some("migrationsOf", other.filter(|it| *it != execution.name()));
    transaction.changes.push(on_record(release, of_record));
    Some(transaction)
}

/// Notes what the deployment of a release waits for that somebody has to do, or that it goes on;
/// `None`: this try has not the turn. `record` is the key of the release's record.
#[must_use]
pub fn awaits(
    turn: &Turn,
    stack: &str,
    record: &str,
    execution: &Execution,
    awaits: Option<&str>,
    now: i64,
) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let attributes = match awaits {
        Some(awaits) => Attributes::default().set(AWAITS, awaits),
        None => Attributes::default().set("resumedAt", now).remove([AWAITS]),
    };
    let note = Change {
        item: record.to_owned(),
        conditions: vec![],
        effect: Effect::Update(attributes),
    };
    Some(in_turn(stack, note, holder))
}

/// Notes that nothing of an earlier release is in progress any more; `None`: this try has not the
/// turn.
#[must_use]
pub fn settled(turn: &Turn, stack: &str, execution: &Execution) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let attributes = Attributes::default().remove(["unsettled"]);
    Some(on_turn(stack, as_held(holder), attributes))
}

/// Notes what serves. `former` is the record that the turn calls current; `None` is answered where
/// this try has not the turn. `call` as [`Beginning::call`]: a parameter may be written afterwards.
///
/// # Errors
/// [`CallInProgress`].
pub fn serves(
    turn: &Turn,
    former: Option<&Record>,
    release: &Release,
    execution: &Execution,
    serves: &Serves<'_>,
    call: &LambdaCall,
    now: i64,
) -> Result<Option<Transaction>, CallInProgress> {
    let Some(mut transaction) = alone(turn, release, execution, call, now)? else {
        return Ok(None);
    };
    let own = Attributes::default();
    let (of_stack, of_record) = match *serves {
        Serves::Deployment { services, from } => (
            deployed(turn, release)
                .and(verified(
                    release.repository.as_deref(),
                    release.digest.as_deref(),
                ))
                .and(current(release, from, now))
                .and(not_due(turn, release.repository.as_deref())),
            own.and(succeeded(services, now)).and(brought_by(release)),
        ),
        Serves::Rollback {
            target,
            services,
            from,
        } => (
            verified(Some(target.repository()), Some(digest_of(target)))
                .and(current(release, from, now))
                .and(not_due(turn, Some(target.repository())))
                .set("rolledBackAt", now),
            own.and(succeeded(services, now)).and(restoring(target)),
        ),
        Serves::Before { services } => (
            Attributes::default().set("rolledBackAt", now),
            own.set("services", json(services)),
        ),
        Serves::Same => (deployed(turn, release), own),
    };
    also(&mut transaction, of_stack);
    if of_record != Attributes::default() {
        transaction.changes.push(on_record(release, of_record));
    }
    if let Serves::Rollback { target, .. } = serves {
        let taken_back = former.and_then(|former| take_back(former, release, *target));
        transaction.changes.extend(taken_back);
    }
    Ok(Some(transaction))
}

/// Notes from when on, milliseconds since 1970, the contract command of this release is to run, which
/// serves; `None`: this try has not the turn.
#[must_use]
pub fn contract_due(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    at: i64,
) -> Option<Transaction> {
    let holder = own(turn, execution)?;
    let due = ContractDue {
        release: release.record.clone(),
        at,
    };
    let repository = release.repository.as_deref().unwrap_or_default();
    let attributes = Attributes::default().set(format!("{CONTRACT_DUE}{repository}"), json(&due));
    Some(on_turn(&release.stack, as_held(holder), attributes))
}

/// Closes the record and gives the turn back, or leaves the line; `None`: there is nothing to do.
///
/// A later try of the same execution keeps its turn. A record that is closed already was closed by
/// who took the turn over, or says that the release is in service: only words are added to that.
///
/// # Errors
/// [`CallInProgress`]: nobody else gets the turn while a call that came late changes something.
pub fn end(
    turn: &Turn,
    record: Option<&Record>,
    release: &Release,
    execution: &Execution,
    end: &End<'_>,
    now: i64,
    retention: Retention,
) -> Result<Option<Transaction>, CallInProgress> {
    let holder = turn
        .holder
        .as_ref()
        .filter(|holder| holder.execution == execution.id);
    if holder.is_some_and(|holder| holder.redrives > execution.redrives) {
        return Ok(None);
    }
    let mut changes = Vec::new();
    if let Some(holder) = holder {
        check_alone(holder, &release.stack, None, now)?;
        let left = end.left_running.then_some(execution.id.as_str());
        let attributes = Attributes::default()
            .set_some("unsettled", left)
            .remove(HELD)
            .remove(OF_A_TRY)
            .and(unquiet(turn, release, end));
        changes.extend(on_turn(&release.stack, as_held(holder), attributes).changes);
    } else if turn
        .waiting
        .as_ref()
        .is_some_and(|waiting| waiting.execution == execution.id)
    {
        let conditions = vec![Condition::equals("waiting", execution.id.as_str())];
        let attributes = Attributes::default().remove(IN_LINE);
        changes.extend(on_turn(&release.stack, conditions, attributes).changes);
    }
    let closes = close(record, holder.is_some(), release, end);
    changes.extend(closes.map(|mut change| {
        if let Effect::Update(attributes) = &mut change.effect {
            let facts = facts(release, execution, now, retention).all_first();
            *attributes = std::mem::take(attributes)
                .set("finishedAt", rfc3339(now))
                .and(facts);
        }
        change
    }));
    let stack = release.stack.clone();
    Ok((!changes.is_empty()).then_some(Transaction { stack, changes }))
}

/// What the end of a release changes in its record.
fn close(
    record: Option<&Record>,
    holding: bool,
    release: &Release,
    end: &End<'_>,
) -> Option<Change> {
    let seen = record.map(|record| record.verdict.as_str());
    let is_open = seen == Some(verdict::IN_PROGRESS);
    let conditions = vec![Condition::as_seen("verdict", seen)];
    let item = release.record.clone();
    if [verdict::NOTHING_TO_ROLL_BACK, verdict::NOTHING_TO_CONTRACT].contains(&end.verdict) {
        let effect = Effect::Delete;
        return is_open.then_some(Change {
            item,
            conditions,
            effect,
        });
    }
    // A redriven release that finds its image in service has nothing left to do, and has succeeded.
    let serves = seen == Some(verdict::SUCCEEDED) && end.verdict == verdict::NOTHING_TO_DEPLOY;
    let confirms = holding && (serves || seen == Some(end.verdict));
    if !(record.is_none() || is_open || confirms) {
        return None;
    }
    let verdict = match serves {
        true => verdict::SUCCEEDED,
        false => end.verdict,
    };
    let attributes = Attributes::default()
        .set("verdict", verdict)
        .set("cause", end.cause)
        .set_some("error", end.error)
        .set("seconds", json(end.seconds))
        .remove([AWAITS]);
    let effect = Effect::Update(attributes);
    Some(Change {
        item,
        conditions,
        effect,
    })
}

/// The record of a release that has the turn from now on.
fn open(record: Option<&Record>, me: &TakeTurnInput, now: i64, retention: Retention) -> Change {
    let seen = record.map(|record| record.verdict.as_str());
    let mut turn_taken = Attributes::default().set("turnAt", now);
    if record.is_some_and(|record| record.touched.is_none()) {
        // An earlier try has touched no service, and others may have since.
        turn_taken = turn_taken.remove(["before", "imagesBefore"]);
    }
    let effect = match seen {
        // It is in service: what comes of this try does not undo that.
        Some(verdict::SUCCEEDED) => Effect::Update(turn_taken),
        _ => Effect::Update(
            turn_taken
                .set("verdict", verdict::IN_PROGRESS)
                .remove(["cause", "error", "finishedAt", "seconds", "rolledBackBy"])
                .remove([AWAITS, "resumedAt"])
                .and(facts(&me.release, &me.execution, now, retention).all_first()),
        ),
    };
    Change {
        item: me.release.record.clone(),
        conditions: vec![Condition::as_seen("verdict", seen)],
        effect,
    }
}

/// Says in the record of a dead release how it ended. A push without a record is given one: it
/// would be taken for one whose event was lost, and be released again. A verdict that is there
/// stays.
fn abandon(dead: &Dead<'_>, is_current: bool, now: i64, retention: Retention) -> Option<Change> {
    let Dead {
        holder,
        record,
        status,
    } = dead;
    match record {
        Some(record) if record.is_closed() => return None,
        None if holder.digest.is_none() => return None,
        _ => {}
    }
    let execution = &holder.execution;
    let (verdict, what) = match is_current {
        true => (
            verdict::SUCCEEDED,
            "when its release was in service and healthy",
        ),
        false => (
            verdict::ABANDONED,
            "before the verdict of its release was recorded",
        ),
    };
    let started = holder.record.split('#').nth(1).unwrap_or_default();
    let mut known = Attributes::default()
        .first("execution", execution.as_str())
        .first("startedAt", started)
        .first("expiresAt", retention.expiry(now));
    if let Some(digest) = &holder.digest {
        known = known
            .first("digest", digest.as_str())
            .first("action", "deploy");
    }
    let attributes = known
        .set("verdict", verdict)
        .set(
            "cause",
            format!("The execution {execution} ended as {status} {what}."),
        )
        .set("finishedAt", rfc3339(now));
    Some(Change {
        item: holder.record.clone(),
        conditions: vec![Condition::as_seen(
            "verdict",
            record.map(|record| record.verdict.as_str()),
        )],
        effect: Effect::Update(attributes),
    })
}

/// The release that served until now is no good one any more, unless it is the one that serves
/// again, or of another repository.
fn take_back(former: &Record, release: &Release, target: Goal<'_>) -> Option<Change> {
    let serves_again = match target {
        Goal::Release(target) => former.key == target.record,
        Goal::Before(_) => false,
    };
    let was_good = former.verdict == verdict::SUCCEEDED
        && former.repository.as_deref() == Some(target.repository())
        && !serves_again
        && former.key != release.record;
    was_good.then(|| Change {
        item: former.key.clone(),
        conditions: vec![Condition::equals("verdict", verdict::SUCCEEDED)],
        effect: Effect::Update(
            Attributes::default()
                .set("verdict", verdict::ROLLED_BACK)
                .set("rolledBackBy", release.record.as_str())
                .set("cause", taken_back(former, release)),
        ),
    })
}

/// Why the release is no good one any more, before what was said of it when it still was.
fn taken_back(former: &Record, release: &Release) -> String {
    format!(
        "It was taken back by {} ({}).\n{}",
        release.asked_by(),
        name_in(&release.record),
        former.cause.as_deref().unwrap_or_default()
    )
}

/// The turn, if this try of the execution has it.
fn own<'a>(turn: &'a Turn, execution: &Execution) -> Option<&'a Holder> {
    turn.holder
        .as_ref()
        .filter(|holder| holder.execution == execution.id && holder.redrives == execution.redrives)
}

/// That the turn is still the one that was taken, and that no call of the holder has begun to change
/// something since, or to take it back.
fn as_held(holder: &Holder) -> Vec<Condition> {
    vec![
        Condition::equals("holder", holder.execution.as_str()),
        Condition::equals("heldSince", holder.since.as_str()),
        Condition::as_seen(CHANGING_UNTIL, holder.changing_until),
        Condition::as_seen(CHANGING_BY, holder.changing_by.as_deref()),
        Condition::as_seen(
            GOES_BACK,
            holder.goes_back.then_some(holder.execution.as_str()),
        ),
    ]
}

/// A change of the turn by the only call of this try that changes something; `None`: it has not the
/// turn.
fn alone(
    turn: &Turn,
    release: &Release,
    execution: &Execution,
    call: &LambdaCall,
    now: i64,
) -> Result<Option<Transaction>, CallInProgress> {
    let Some(holder) = own(turn, execution) else {
        return Ok(None);
    };
    check_alone(holder, &release.stack, Some(call), now)?;
    let attributes = changing(holder, call.until).set(CHANGING_BY, call.id.as_str());
    Ok(Some(on_turn(&release.stack, as_held(holder), attributes)))
}

/// No other call of the holder is changing anything than this one.
fn check_alone(
    holder: &Holder,
    stack: &str,
    call: Option<&LambdaCall>,
    now: i64,
) -> Result<(), CallInProgress> {
    let own = call.map(|call| call.id.as_str());
    let is_other = holder.changing_by.is_some() && holder.changing_by.as_deref() != own;
    match holder.is_changing_until(now).filter(|_| is_other) {
        Some(until) => Err(CallInProgress {
            execution: holder.execution.clone(),
            stack: stack.to_owned(),
            until,
        }),
        None => Ok(()),
    }
}

/// A call may change something until then, or one that was begun before may for longer.
fn changing(holder: &Holder, until: i64) -> Attributes {
    let until = holder
        .changing_until
        .map_or(until, |known| known.max(until));
    Attributes::default().set(CHANGING_UNTIL, until)
}

/// An alarm does not stand in line. Anybody else has the place there, or nobody has.
fn place_in_line(turn: &Turn, me: &TakeTurnInput) -> Option<Condition> {
    let has_place = turn.waiting.is_some().then_some(me.execution.id.as_str());
    let condition = Condition::as_seen("waiting", has_place);
    me.release.alarm.is_none().then_some(condition)
}

/// The turn as it is held from now on. An alarm leaves who waits waiting, and has no place among
/// the others.
fn held(me: &TakeTurnInput, now: i64) -> Attributes {
    let release = &me.release;
    let attributes = Attributes::default()
        .set("holder", me.execution.id.as_str())
        .set("heldSince", rfc3339(now))
        .set("heldRecord", release.record.as_str())
        .set("heldDigest", digest_or_none(release.digest.as_deref()))
        .set("heldRedrives", me.execution.redrives)
        .remove(OF_A_TRY);
    match release.alarm {
        Some(_) => attributes.remove(["heldOrder", "heldFor"]),
        None => attributes
            .set("heldOrder", release.order.as_str())
            .set("heldFor", release.waits_for())
            .remove(IN_LINE),
    }
}

fn digest_or_none(digest: Option<&str>) -> &str {
    digest.unwrap_or(NO_DIGEST)
}

/// What is known of a release before it does anything.
fn facts(release: &Release, execution: &Execution, now: i64, retention: Retention) -> Attributes {
    Attributes::default()
        .set("execution", execution.id.as_str())
        .set("action", release.action.word())
        .set("startedBy", release.started_by.as_str())
        .set("startedAt", release.started_at.as_str())
        .set("expiresAt", retention.expiry(now))
        .set_some("repository", release.repository.as_deref())
        .set_some("digest", release.digest.as_deref())
        .set_some("tag", release.tag.as_deref())
        .set_some("commit", release.commit.as_deref())
        .set_some("commitUrl", release.commit_url.as_deref())
        .set_some("pushedAt", release.pushed_at.as_deref())
}

/// The image that a release brings. A record has one only where services may have got it.
fn brought_by(release: &Release) -> Attributes {
    Attributes::default().set_some("image", release.image.as_deref())
}

/// What a rollback brings back. A try before this one may have been about to bring back another thing.
fn restoring(target: Goal<'_>) -> Attributes {
    let attributes = Attributes::default().set("repository", target.repository());
    match target {
        Goal::Release(target) => attributes
            .set("restores", target.restores.as_str())
            .set("digest", target.digest.as_str())
            .set("image", target.image.as_str())
            .set_some("tag", target.tag.as_deref())
            .remove(["restoresBefore"]),
        Goal::Before(first) => attributes
            .set("restoresBefore", first.record.as_str())
            .remove(["restores", "digest", "image", "tag"]),
    }
}

/// What is known to be healthy in all services: what ran before the first release is what came with the
/// stack.
fn digest_of(target: Goal<'_>) -> &str {
    match target {
        Goal::Release(target) => &target.digest,
        Goal::Before(_) => NO_DIGEST,
    }
}

fn succeeded(services: &[WantedRevision], now: i64) -> Attributes {
    Attributes::default()
        .set("verdict", verdict::SUCCEEDED)
        .set("services", json(services))
        .set("finishedAt", rfc3339(now))
}

fn current(release: &Release, from: i64, now: i64) -> Attributes {
    Attributes::default()
        .set("currentRecord", release.record.as_str())
        .set("currentAction", release.action.word())
        .set("currentFrom", from)
        .set("currentFinished", now)
}

/// A rollback, or a release that was forced, does not move the order of pushes back.
fn deployed(turn: &Turn, release: &Release) -> Attributes {
    let Some(repository) = &release.repository else {
        return Attributes::default();
    };
    let order = release.order.as_str();
    let newest = turn
        .deployed(repository)
        .map_or(order, |known| known.max(order));
    Attributes::default().set(format!("{DEPLOYED}{repository}"), newest)
}

fn verified(repository: Option<&str>, digest: Option<&str>) -> Attributes {
    match repository {
        Some(repository) => {
            Attributes::default().set_some(format!("{VERIFIED}{repository}"), digest)
        }
        None => Attributes::default(),
    }
}

/// What serves now is another release than the one whose contract command was to run.
fn not_due(turn: &Turn, repository: Option<&str>) -> Attributes {
    let due = repository.filter(|name| turn.contracts_due().contains_key(*name));
    match due {
        Some(name) => Attributes::default().set(format!("{CONTRACT_DUE}{name}"), NOT_DUE),
        None => Attributes::default(),
    }
}

/// What was to be rolled back may still be, whatever came of that: no contract command runs by itself.
fn unquiet(turn: &Turn, release: &Release, end: &End<'_>) -> Attributes {
    let is_rollback = release.action == RequestedAction::Rollback;
    if !is_rollback || end.verdict == verdict::NOTHING_TO_ROLL_BACK {
        return Attributes::default();
    }
    let due = turn.contracts_due().keys();
    due.fold(Attributes::default(), |attributes, name| {
        attributes.and(not_due(turn, Some(name)))
    })
}

/// The contract command of the release with that record is run by this one, and by no other.
fn contracted(turn: &Turn, release: &Release, contracts: &str) -> Attributes {
    let repository = release.repository.as_deref().unwrap_or_default();
    let contracted = Contracted {
        release: contracts.to_owned(),
        by: release.record.clone(),
    };
    not_due(turn, Some(repository)).set(format!("{CONTRACTED}{repository}"), json(&contracted))
}

/// A change that stands only if the holder still has the turn.
fn in_turn(stack: &str, change: Change, holder: &Holder) -> Transaction {
    let has_turn = Change {
        item: TURN.to_owned(),
        conditions: as_held(holder),
        effect: Effect::Check,
    };
    Transaction {
        stack: stack.to_owned(),
        changes: vec![change, has_turn],
    }
}

/// Changes more of the item that a transaction changes first.
fn also(transaction: &mut Transaction, more: Attributes) {
    if let Some(Change {
        effect: Effect::Update(attributes),
        ..
    }) = transaction.changes.first_mut()
    {
        *attributes = std::mem::take(attributes).and(more);
    }
}

fn on_turn(stack: &str, conditions: Vec<Condition>, attributes: Attributes) -> Transaction {
    Transaction {
        stack: stack.to_owned(),
        changes: vec![Change {
            item: TURN.to_owned(),
            conditions,
            effect: Effect::Update(attributes),
        }],
    }
}

fn on_record(release: &Release, attributes: Attributes) -> Change {
    Change {
        item: release.record.clone(),
        conditions: vec![],
        effect: Effect::Update(attributes),
    }
}

/// What is nested stands in the table as JSON text. What is written there is always an object or an
/// array of texts and numbers, of which every value has a text.
fn json<T: Serialize + ?Sized>(value: &T) -> Value {
    Value::Text(serde_json::to_string(value).unwrap_or_default())
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;

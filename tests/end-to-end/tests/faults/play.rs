//! One case: a way is gone, something goes wrong on it, and afterwards all rules hold.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ecs::types::{ServiceDeploymentStatus as Status, StopServiceDeploymentStopType};
use aws_sdk_lambda::primitives::Blob;
use end_to_end::account::Account;
use end_to_end::execution::{End, Execution};
use end_to_end::visitor::Visitor;
use jiff::Timestamp;
use local_aws::client::OpenFault;
use local_aws::faults::{CallFault, Fault};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::aim::{self, Armed};
use crate::machine::{Does, Machine};
use crate::matrix::{Case, Disturbance};
use crate::outcome::Outcome;
use crate::rules::{self, Seen};
use crate::stand::{Behaviour, Stand, Version};
use crate::way::{Way, way_to};

/// How long an execution may take to come to a state: after an aborted one more than a minute.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long an execution may take to its end: what is denied is tried for minutes.
const LONG_PATIENCE: Duration = Duration::from_secs(900);
/// How long the reconciler may take: it leaves a push two minutes, and comes by every minute.
const RECONCILER_PATIENCE: Duration = Duration::from_secs(400);
/// A page every so often: enough to notice a gap, little enough for many cases at once.
const VISITS: Duration = Duration::from_millis(250);

/// What a case has done beside what all have in common.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// The execution in question.
    pub(crate) execution: Option<Execution>,
    /// Versions whose push led, or should have led, to one execution each.
    pub(crate) pushed: Vec<Version>,
    /// Versions of which no event told, until the reconciler finds them.
    lost: Vec<Version>,
    /// The executions that there were when an alarm fired, which starts one more.
    before_alarm: Option<Vec<Execution>>,
}

/// Plays a case, lets the next release follow, and answers how many rules were checked and what was
/// wrong.
pub(crate) async fn case(
    account: &Account,
    machine: &Machine,
    stand: &mut Stand,
    case: &Case,
) -> Result<rules::Checked> {
    let since = Timestamp::now();
    let application = stand.application(account).await?;
    let before = stand.running(&application).await?.digest.clone();
    let page = format!("{}/posts", application.url());
    let visitor = Visitor::start_at(&page, VISITS);
    let mut scene = Scene {
        account,
        machine,
        stand,
        case,
        since,
        played: Played::default(),
    };
    scene.play().await?;
    scene.all_have_ended().await.context("afterwards")?;
    let mut checked = rules::Checked::default();
    scene.check_the_way(&mut checked).await?;
    let outcome = Outcome {
        account,
        stand: scene.stand,
        case,
        since,
        before: &before,
        played: &scene.played,
    };
    outcome.check(&mut checked).await.context("the outcome")?;

    let next = scene.next_release().await?;
    scene.all_have_ended().await?;
    let visits = visitor.leave().await;
    let Scene { stand, played, .. } = scene;
    let seen = Seen {
        account,
        stand,
        case,
        since,
        played: &played,
        visits: &visits,
        next: &next,
    };
    rules::check(&seen, &mut checked).await?;
    Ok(checked)
}

struct Scene<'a> {
    account: &'a Account,
    machine: &'a Machine,
    stand: &'a mut Stand,
    case: &'a Case,
    /// When the case began.
    since: Timestamp,
    played: Played,
}

/// An execution that another one holds up.
struct Holder<'a> {
    execution: Execution,
    held: OpenFault<'a>,
}

impl<'a> Scene<'a> {
    fn state(&self) -> Option<&'a str> {
        self.case
            .disturbed
            .as_ref()
            .map(|(state, _)| state.as_str())
    }

    async fn play(&mut self) -> Result<()> {
        let way = self.case.way;
        let behaviour = way.behaviour(self.state());
        match way {
            Way::Release
            | Way::FullRelease
            | Way::BadMigration
            | Way::LongMigration
            | Way::LongCommand
            | Way::Unhealthy => {
                let trap = self.set_trap().await?;
                let execution = self.push(behaviour).await?;
                self.go(trap, execution, None).await
            }
            Way::Unmigrated => {
                let before = self.running().await?;
                self.release_well().await?;
                self.by_hand(json!({"tag": before.tag, "migrate": false}))
                    .await
            }
            Way::Unseen => self.lose_sight(behaviour).await,
            Way::ByHand => {
                self.release_well().await?;
                let trap = self.set_trap().await?;
                let execution = self.start(json!({"action": "rollback"})).await?;
                self.go(trap, execution, None).await
            }
            Way::Interfered | Way::Overtaken => self.interfere().await,
            Way::ByAlarm => {
                self.release_well().await?;
                let trap = self.set_trap().await?;
                let before = self.executions().await?;
                self.stand.set_alarm(self.account, "ALARM").await?;
                let execution = self.new_execution(&before).await?;
                self.go(trap, execution, None).await
            }
            Way::QuietAlarm => {
                let alarm = json!({"name": "none", "at": Timestamp::now().to_string()});
                self.by_hand(json!({"action": "rollback", "alarm": alarm}))
                    .await
            }
            Way::NothingToGoBackTo => {
                self.by_hand(json!({"action": "rollback", "to": "none"}))
                    .await
            }
            Way::Stale => {
                let first = self.stand.versions[0].tag.clone();
                let long_ago = "2020-01-01T00:00:00Z";
                self.by_hand(json!({"tag": first, "migrate": false, "pushedAt": long_ago}))
                    .await
            }
            Way::Again => {
                let running = self.running().await?;
                self.by_hand(json!({"tag": running.tag})).await
            }
            Way::Waiting | Way::Bereaved => {
                let holder = self.holder(Behaviour::default()).await?;
                let trap = self.set_trap().await?;
                let execution = self.push(behaviour).await?;
                self.go(trap, execution, Some(holder)).await
            }
            Way::HandsOn => {
                let held = self.hold("UpdateService").await?;
                let execution = self.push(behaviour).await?;
                held.strikes(PATIENCE).await?;
                let next = self.push(Behaviour::default()).await?;
                self.stands_in_line(&next).await?;
                let trap = self.set_trap().await?;
                held.lift().await?;
                self.go(trap, execution, None).await
            }
            Way::Orphaned | Way::Stuck => {
                self.orphan().await?;
                let trap = self.set_trap().await?;
                let execution = self.push(behaviour).await?;
                self.go(trap, execution, None).await
            }
            Way::Ousted | Way::Replacing => self.come_between(behaviour).await,
            Way::Redriven => self.redrive_at("UpdateService").await,
            Way::Refused => self.refuse().await,
            Way::Unwritten | Way::Unread => self.end_in_vain(behaviour).await,
            Way::Contracts => {
                self.release(behaviour).await?;
                // Its window is not over yet.
                self.by_hand(json!({"action": "contract", "force": true}))
                    .await
            }
        }
    }

    async fn by_hand(&mut self, input: Value) -> Result<()> {
        let trap = self.set_trap().await?;
        let execution = self.start(input).await?;
        self.go(trap, execution, None).await
    }

    async fn start(&mut self, input: Value) -> Result<Execution> {
        self.stand.start(self.account, input).await
    }

    /// Pushes a version and waits for its execution.
    async fn push(&mut self, behaviour: Behaviour) -> Result<Execution> {
        let version = self.stand.push(self.account, behaviour).await?;
        let noticed = self.stand.noticed(self.account, &version, PATIENCE).await;
        self.played.pushed.push(version);
        noticed
    }

    async fn release_well(&mut self) -> Result<()> {
        self.release(Behaviour::default()).await
    }

    async fn release(&mut self, behaviour: Behaviour) -> Result<()> {
        let end = self.push(behaviour).await?.end_within(PATIENCE).await?;
        ensure!(
            end.output["verdict"] == "succeeded",
            "the release before: {end:?}"
        );
        Ok(())
    }

    async fn running(&self) -> Result<Version> {
        let application = self.stand.application(self.account).await?;
        Ok(self.stand.running(&application).await?.clone())
    }

    /// A release that has its turn and goes no further before it is let go.
    async fn holder(&mut self, behaviour: Behaviour) -> Result<Holder<'a>> {
        let held = self.hold("PlanInTurn").await?;
        let execution = self.push(behaviour).await?;
        held.strikes(PATIENCE).await?;
        Ok(Holder { execution, held })
    }

    /// Waits until an execution has the place in the line of the stack.
    async fn stands_in_line(&self, execution: &Execution) -> Result<()> {
        let account = self.account;
        account.waits_in_line(&self.stand.name, execution).await
    }

    async fn hold(&self, state: &str) -> Result<OpenFault<'a>> {
        let state = self.machine.state(state)?;
        let call = aim::call(&self.stand.name, self.case.way, state)?;
        self.account.aws().fail(call.held().times(1)).await
    }

    /// Leaves a migration running whose release was aborted: for longer than it takes until the
    /// turn is taken over, or than any migration may take.
    async fn orphan(&mut self) -> Result<()> {
        let held = self.hold("WaitTask").await?;
        let execution = self.push(Behaviour {
            migration_seconds: match self.case.way {
                Way::Stuck => 600,
                _ => 75,
            },
            ..Behaviour::default()
        });
        let execution = execution.await?;
        held.strikes(PATIENCE).await?;
        execution.stop().await?;
        held.lift().await?;
        Ok(())
    }

    /// A release that waits behind one, and behind a newer one that waits too, or waited.
    async fn come_between(&mut self, behaviour: Behaviour) -> Result<()> {
        let now = Timestamp::now().as_second();
        let digest = |version: &Version, ago: i64| -> Result<Value> {
            let pushed = Timestamp::from_second(now - ago)?;
            Ok(json!({"digest": version.digest, "pushedAt": pushed.to_string()}))
        };
        let mut versions = Vec::new();
        for behaviour in [Behaviour::default(), Behaviour::default(), behaviour] {
            versions.push(self.stand.push_unheard(self.account, behaviour).await?);
        }
        let held = self.hold("PlanInTurn").await?;
        let execution = self.start(digest(&versions[0], 4)?).await?;
        held.strikes(PATIENCE).await?;
        let holder = Holder { execution, held };
        let newer = self.start(digest(&versions[1], 0)?).await?;
        self.stands_in_line(&newer).await?;
        if self.case.way == Way::Replacing {
            newer.stop().await?;
        }
        let trap = self.set_trap().await?;
        let execution = self.start(digest(&versions[2], 2)?).await?;
        self.go(trap, execution, Some(holder)).await
    }

    /// Somebody stops the way back of the service, or gives it another revision meanwhile.
    async fn interfere(&mut self) -> Result<()> {
        self.release_well().await?;
        let application = self.stand.application(self.account).await?;
        let revision = application.task_definition().await?;
        // There may be no other call of the state than this one.
        let disturbed = self.case.disturbed.as_ref();
        let is_disturbed = disturbed.is_some_and(|(_, it)| it.happens_meanwhile());
        let held = match is_disturbed {
            true => match self.arm().await? {
                Armed::Held(held) => held,
                other => bail!("{other:?} holds no call"),
            },
            false => self.hold("VerifyRollback").await?,
        };
        let execution = self.start(json!({"action": "rollback"})).await?;
        held.strikes(PATIENCE).await?;
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        if self.case.way == Way::Overtaken {
            ecs.update_service()
                .cluster(application.cluster())
                .service(application.service())
                .task_definition(revision)
                .send()
                .await?;
        } else {
            let listed = ecs
                .list_service_deployments()
                .cluster(application.cluster())
                .service(application.service())
                .set_status(Some(vec![Status::Pending, Status::InProgress]))
                .send()
                .await?;
            let way_back = listed.service_deployments().first();
            let way_back = way_back.and_then(|deployment| deployment.service_deployment_arn());
            ecs.stop_service_deployment()
                .service_deployment_arn(way_back.context("the way back is over already")?)
                .stop_type(StopServiceDeploymentStopType::Rollback)
                .send()
                .await?;
        }
        if is_disturbed {
            let trap = Trap::Set(Armed::Held(held));
            return self.go(Some(trap), execution, None).await;
        }
        // Only now: it was verified before, when the release was good.
        let trap = match &self.case.disturbed {
            Some(_) => Some(Trap::Set(self.arm().await?)),
            None => None,
        };
        held.lift().await?;
        self.go(trap, execution, None).await
    }

    /// What became of the deployment cannot be asked, so that it is taken back while it goes on.
    async fn lose_sight(&mut self, behaviour: Behaviour) -> Result<()> {
        let state = self.machine.state("VerifyHealth")?;
        // Nothing that passes: it is not tried again.
        let lost =
            aim::call(&self.stand.name, self.case.way, state)?.with("ResourceNotFoundException");
        let lost = self.account.aws().fail(lost).await?;
        let trap = self.set_trap().await?;
        let execution = self.push(behaviour).await?;
        self.go(trap, execution, None).await?;
        lost.lift().await.map(drop)
    }

    /// ECS refuses what brings the service back.
    async fn refuse(&mut self) -> Result<()> {
        self.release_well().await?;
        let refused = Fault::of("ecs", "UpdateService").by("*RollBackFunction*");
        let refused = self.deny(refused).await?;
        let execution = self.start(json!({"action": "rollback"})).await?;
        self.ends(execution).await?;
        refused.lift().await?;
        Ok(())
    }

    /// What the release's end needs is refused: to write the parameter of the stack's image, or to
    /// read which releases there were.
    async fn end_in_vain(&mut self, behaviour: Behaviour) -> Result<()> {
        let (state, call) = match self.case.way {
            Way::Unread => ("ChooseTarget", "dynamodb:Query"),
            _ => ("RecordCurrent", "ssm:PutParameter"),
        };
        let state = self.machine.state(state)?;
        let call = aim::by_function(&self.stand.name, state, call)?;
        let refused = self.deny(call).await?;
        let execution = self.push(behaviour).await?;
        self.ends(execution).await?;
        refused.lift().await?;
        Ok(())
    }

    /// Refuses all such calls for the stack.
    async fn deny(&self, calls: CallFault) -> Result<OpenFault<'a>> {
        let calls = calls.where_request_mentions(&self.stand.name);
        self.account
            .aws()
            .fail(calls.with("AccessDeniedException"))
            .await
    }

    async fn redrive_at(&mut self, state: &str) -> Result<()> {
        let held = self.hold(state).await?;
        let execution = self.push(Behaviour::default()).await?;
        held.strikes(PATIENCE).await?;
        execution.stop().await?;
        held.lift().await?;
        let trap = self.set_trap().await?;
        execution.redrive().await?;
        self.go(trap, execution, None).await
    }

    /// Sets the case's trap, where nothing on the way before could fall into it.
    async fn set_trap(&self) -> Result<Option<Trap<'a>>> {
        let Some((state, _)) = &self.case.disturbed else {
            return Ok(None);
        };
        match aim::armed_at(self.case.way, state) {
            Some(earlier) => Ok(Some(Trap::Later(self.hold(earlier).await?))),
            None => Ok(Some(Trap::Set(self.arm().await?))),
        }
    }

    async fn arm(&self) -> Result<Armed<'a>> {
        let (state, disturbance) = self
            .case
            .disturbed
            .as_ref()
            .context("an undisturbed case")?;
        let state = self.machine.state(state)?;
        aim::arm(self.account, self.stand, self.case.way, state, disturbance).await
    }

    /// Lets the execution walk into the trap, and to its end.
    async fn go(
        &mut self,
        trap: Option<Trap<'a>>,
        execution: Execution,
        holder: Option<Holder<'a>>,
    ) -> Result<()> {
        let armed = match trap {
            None => None,
            Some(Trap::Set(armed)) => Some(armed),
            Some(Trap::Later(held)) => {
                held.strikes(PATIENCE).await?;
                let armed = self.arm().await?;
                held.lift().await?;
                Some(armed)
            }
        };
        let mut open = None;
        let mut struck = None;
        // Nothing strikes before it waits.
        let strikes_later = matches!(armed, None | Some(Armed::Event(_)));
        if strikes_later && holder.is_some() && self.case.way != Way::Ousted {
            self.stands_in_line(&execution).await?;
        }
        match armed {
            None => {}
            Some(Armed::Stale(stale)) => {
                execution.end_within(LONG_PATIENCE).await?;
                stale.end().await?;
            }
            Some(Armed::Event(event)) => struck = Some(event),
            Some(Armed::Fault(fault)) => {
                fault.strikes(PATIENCE).await?;
                open = Some(fault);
            }
            Some(Armed::Held(held)) => {
                held.strikes(PATIENCE).await?;
                let happened = self.meanwhile(&execution).await;
                held.lift().await?;
                happened?;
            }
            Some(Armed::HeldStore(held)) => {
                held.strikes(PATIENCE).await?;
                let since = Timestamp::now();
                if let Some(holder) = &holder {
                    holder.execution.stop().await?;
                }
                self.an_event_is_told(since).await?;
                held.lift().await?;
            }
        }
        if let Some(holder) = holder {
            match self.case.way {
                Way::Bereaved => holder.execution.stop().await?,
                Way::Ousted => execution.end_within(LONG_PATIENCE).await.map(drop)?,
                _ => {}
            }
            holder.held.lift().await?;
        }
        self.ends(execution.clone()).await?;
        if let Some(fault) = open {
            fault.lift().await?;
        }
        if let Some(event) = struck {
            ensure!(event.lift().await? > 0, "the wait had no end to hear of");
        }
        if matches!(&self.case.disturbed, Some((_, Disturbance::Redriven))) {
            execution.redrive().await?;
            self.ends(execution).await?;
        }
        if let Some(before) = self.played.before_alarm.take() {
            let by_alarm = self.new_execution(&before).await?;
            by_alarm.end_within(LONG_PATIENCE).await?;
        }
        for version in std::mem::take(&mut self.played.lost) {
            let found = self
                .stand
                .noticed(self.account, &version, RECONCILER_PATIENCE);
            found.await?.end_within(LONG_PATIENCE).await?;
            self.played.pushed.push(version);
        }
        Ok(())
    }

    async fn ends(&mut self, execution: Execution) -> Result<End> {
        let end = execution.end_within(LONG_PATIENCE).await?;
        self.played.execution = Some(execution);
        Ok(end)
    }

    /// What happens while the execution is in the state.
    async fn meanwhile(&mut self, execution: &Execution) -> Result<()> {
        let Some((_, disturbance)) = &self.case.disturbed else {
            return Ok(());
        };
        match disturbance {
            Disturbance::AbortedBefore | Disturbance::AbortedAfter | Disturbance::Redriven => {
                execution.stop().await
            }
            Disturbance::EventTwice => self.repeat_event().await,
            Disturbance::NewerPush => self.push(Behaviour::default()).await.map(drop),
            Disturbance::EventLost => {
                let pushes = json!({
                    "source": ["aws.ecr"], "detail": {"repository-name": [self.stand.name]}
                });
                let lost = self.account.aws().events().matching(pushes).lose(1).await?;
                let version = self.stand.push(self.account, Behaviour::default()).await?;
                ensure!(lost.struck().await? == 1, "the event was not lost");
                self.played.lost.push(version);
                Ok(())
            }
            Disturbance::AlarmFires => {
                self.played.before_alarm = Some(self.executions().await?);
                self.stand.set_alarm(self.account, "ALARM").await
            }
            other => bail!("{other} does not happen meanwhile"),
        }
    }

    /// Waits until the function of the state in question has been told of something.
    async fn an_event_is_told(&self, since: Timestamp) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let state = self.machine.state(self.state().unwrap_or_default())?;
        let Does::Invoke { resource, .. } = &state.does else {
            bail!("{} invokes no function", state.name);
        };
        let since = since.as_millisecond() as f64 / 1000.0;
        loop {
            let calls = self.account.aws().calls_since(since).await?;
            let calls = calls.of("lambda", "Invoke").mentioning(&self.stand.name);
            let told = calls.only(|call| {
                let name = call.request["FunctionName"].as_str().unwrap_or_default();
                name.contains(resource) && call.request["Payload"]["detail-type"].is_string()
            });
            if !told.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{resource} was told nothing");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Delivers the event of the newest push once more.
    async fn repeat_event(&self) -> Result<()> {
        let calls = self.account.aws().calls().await?;
        let calls = calls.of("lambda", "Invoke").mentioning(&self.stand.name);
        let of_push = calls.only(|call| {
            let name = call.request["FunctionName"].as_str().unwrap_or_default();
            name.contains("OnEcrPush")
        });
        let event = of_push.last().context("no push was delivered")?;
        let name = event.request["FunctionName"].as_str().unwrap_or_default();
        let again = aws_sdk_lambda::Client::new(self.account.config())
            .invoke()
            .function_name(name)
            .payload(Blob::new(event.request["Payload"].to_string()))
            .send()
            .await?;
        ensure!(
            again.function_error().is_none(),
            "the repeated event: {again:?}"
        );
        Ok(())
    }

    async fn new_execution(&self, before: &[Execution]) -> Result<Execution> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.executions().await?;
            let known = |one: &Execution| before.iter().any(|old| old.arn() == one.arn());
            if let Some(new) = now.into_iter().find(|one| !known(one)) {
                return Ok(new);
            }
            ensure!(Instant::now() < deadline, "no execution was started");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The executions of the stack since the case began, the newest first.
    async fn executions(&self) -> Result<Vec<Execution>> {
        let since = self.since;
        self.stand.executions_since(self.account, since).await
    }

    async fn all_have_ended(&self) -> Result<()> {
        for execution in self.executions().await? {
            execution.end_within(LONG_PATIENCE).await?;
        }
        Ok(())
    }

    /// The release in question came to the state in question.
    async fn check_the_way(&self, checked: &mut rules::Checked) -> Result<()> {
        let execution = self.played.execution.as_ref().context("no execution")?;
        let stays = execution.stays().await?;
        let way = self.case.way;
        let expected = match self.state() {
            Some(state) => vec![state],
            // On a stack of another kind it may be a shorter way.
            None if way.kinds()[0] != self.case.kind => vec![],
            None => {
                let names = self.machine.names().into_iter();
                names.filter(|name| way_to(name) == Some(way)).collect()
            }
        };
        let came = |state: &&str| stays.iter().any(|stay| stay.state == *state);
        let missed: Vec<_> = expected.into_iter().filter(|state| !came(state)).collect();
        if !missed.is_empty() {
            let path: Vec<_> = stays.iter().map(|stay| stay.state.as_str()).collect();
            let end = execution.ended().await?;
            bail!(
                "{} never came to {missed:?}, but by {path:?} to {end:?}",
                execution.arn()
            );
        }
        checked.visited(stays.into_iter().map(|stay| stay.state));
        Ok(())
    }

    /// Whatever has happened: the next release succeeds.
    async fn next_release(&mut self) -> Result<(Version, End)> {
        if self.case.kind.has_alarms() {
            self.stand.set_alarm(self.account, "OK").await?;
        }
        let execution = self.push(Behaviour::default()).await?;
        let end = execution.end_within(LONG_PATIENCE).await?;
        let version = self.stand.versions.last().context("no version")?.clone();
        Ok((version, end))
    }
}

enum Trap<'a> {
    Set(Armed<'a>),
    /// It is set when the call of an earlier state, which is held, has come.
    Later(OpenFault<'a>),
}

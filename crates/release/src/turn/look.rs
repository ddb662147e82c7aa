//! Looks at the turn of a stack for a release that wants it, and hands it on.

use super::{Life, Seen, Step, Turn, Who, step};
use crate::table::Written;
use crate::time::millis_of;
use crate::transactions::{self, Dead};
use crate::{Record, Retention, Table};
use aws_sdk_sfn::types::{ExecutionStatus, IncludedData};
use aws_types::SdkConfig;
use bluegreen_callback::{Waits, tell};
use bluegreen_contract::{Action, InvalidInput, TakeTurnInput, TurnTaken};
use bluegreen_runtime::{
    AwsRequestFailed, BadEnvironment, failed, required_number, required_variable,
};
use std::error::Error;
use std::time::Duration;

/// The stem of the function under which releases wait for their turn.
const WAITS_AS: &str = "take-turn";
/// How often a look begins anew because somebody else has written meanwhile.
const LOOKS: usize = 20;
/// The longest pause before another look at a call that may have finished before its time.
const PAUSE_MS: i64 = 5000;

/// Those who want the turn of a stack.
#[derive(Debug, Clone)]
pub struct Line {
    pub table: Table,
    pub sfn: aws_sdk_sfn::Client,
    /// Those who wait for `take-turn`.
    pub waits: Waits,
    /// For the records that a turn begins or closes.
    pub retention: Retention,
}

/// What a look has come to.
enum Look {
    Answer(TurnTaken),
    /// Until something happens, or until a time in milliseconds since 1970.
    Wait(Option<i64>),
    /// The table has changed, by this look or by somebody else.
    Again,
}

/// What releases wait for that want the turn of a stack.
#[must_use]
pub fn awaited(stack: &str) -> String {
    format!("turn#{stack}")
}

impl Line {
    /// Reads `RELEASES_TABLE`, `WAITS_TABLE` and `RECORD_RETENTION_DAYS`.
    ///
    /// # Errors
    /// [`BadEnvironment`] where one is not set or cannot be used.
    pub fn from_env(config: &SdkConfig) -> Result<Self, BadEnvironment> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        Ok(Self {
            table: Table::new(dynamodb, required_variable("RELEASES_TABLE")?),
            sfn: aws_sdk_sfn::Client::new(config),
            waits: Waits::from_env(config, WAITS_AS)?,
            retention: Retention {
                days: required_number("RECORD_RETENTION_DAYS", Retention::DAYS)?,
            },
        })
    }

    /// Does all that can be done now so that the release gets the turn; `None`: it has to wait.
    /// A wait whose end is known and not after `patient_until` is waited for; milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn look(
        &self,
        me: &TakeTurnInput,
        patient_until: i64,
    ) -> Result<Option<TurnTaken>, AwsRequestFailed> {
        self.look_for(me, patient_until, false).await
    }

    /// The same for a release that asked earlier. It may have ended since: nothing is done for it
    /// then, and nobody else loses a place to it.
    ///
    /// # Errors
    /// [`AwsRequestFailed`].
    pub async fn look_again(
        &self,
        me: &TakeTurnInput,
        patient_until: i64,
    ) -> Result<Option<TurnTaken>, AwsRequestFailed> {
        self.look_for(me, patient_until, true).await
    }

    async fn look_for(
        &self,
        me: &TakeTurnInput,
        patient_until: i64,
        mut may_have_ended: bool,
    ) -> Result<Option<TurnTaken>, AwsRequestFailed> {
        if me.action == Action::End {
            return Ok(Some(without_turn(None)));
        }
        let mut looks = 0;
        while looks < LOOKS {
            let ask = std::mem::take(&mut may_have_ended);
            if ask && matches!(self.life(&me.execution.id).await?, Life::Ended { .. }) {
                return Ok(None);
            }
            match self.look_once(me).await? {
                Look::Answer(answer) => return Ok(Some(answer)),
                Look::Again => looks += 1,
                Look::Wait(Some(until)) if until <= patient_until => {
                    sleep_until(until.min(bluegreen_runtime::now() + PAUSE_MS)).await;
                    may_have_ended = true;
                }
                Look::Wait(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Looks for every release that waits for the turn of the stack, and answers those whose wait
    /// is over. To be called when the turn was given back, or when somebody is dead.
    ///
    /// # Errors
    /// [`AwsRequestFailed`] as a failure of the caller's.
    pub async fn hand_on<F>(&self, stack: &str) -> Result<(), F>
    where
        F: Error + From<AwsRequestFailed> + From<InvalidInput> + 'static,
    {
        let look = async |asked: &TakeTurnInput| Ok(self.look_again(asked, 0).await?);
        tell(&self.waits, &awaited(stack), look).await
    }

    async fn look_once(&self, me: &TakeTurnInput) -> Result<Look, AwsRequestFailed> {
        let turn = self.table.turn(&me.release.stack).await?;
        let now = bluegreen_runtime::now();
        let written = match self.decide(&turn, me, now).await? {
            Step::Keep => {
                let record = self.own_record(me).await?;
                let since = turn.holder.as_ref().map(|holder| holder.since.as_str());
                let since = since.and_then(millis_of).unwrap_or_default();
                return Ok(Look::Answer(taken(since, record.as_ref(), me)));
            }
            Step::GiveWay { to } => return Ok(Look::Answer(without_turn(Some(to)))),
            // Whether the other one lives has been asked: `decide` answers no such step.
            Step::Wait { until } => return Ok(Look::Wait(until)),
            Step::NeedLife { .. } => return Ok(Look::Wait(None)),
            Step::StandInLine { displacing } => {
                let transaction = transactions::stand_in_line(&turn, me);
                let written = self.table.write(&transaction).await?;
                if let (Written::Done, Some(displaced)) = (written, displacing) {
                    self.supersede(&displaced, me).await;
                }
                written
            }
            Step::Take => {
                let record = self.own_record(me).await?;
                let record = record.as_ref();
                let transaction = transactions::take(&turn, record, me, now, self.retention);
                let written = self.table.write(&transaction).await?;
                if written == Written::Done {
                    return Ok(Look::Answer(taken(now, record, me)));
                }
                written
            }
            Step::Retake => match &turn.holder {
                Some(holder) => {
                    let transaction = transactions::retake(holder, me, now);
                    self.table.write(&transaction).await?
                }
                None => Written::Refused,
            },
            Step::TakeOver { status } => self.take_over(&turn, &status, me, now).await?,
        };
        tracing::debug!(?written, "the turn is read anew");
        Ok(Look::Again)
    }

    /// The next step, having asked whether the others live as far as that matters.
    async fn decide(
        &self,
        turn: &Turn,
        me: &TakeTurnInput,
        now: i64,
    ) -> Result<Step, AwsRequestFailed> {
        let (mut holder, mut waiting) = (None, None);
        loop {
            let next = step(&Seen {
                turn,
                me,
                holder: holder.as_ref(),
                waiting: waiting.as_ref(),
                now,
            });
            let execution = match next {
                Step::NeedLife { of: Who::Holder } => {
                    turn.holder.as_ref().map(|holder| &holder.execution)
                }
                Step::NeedLife { of: Who::Waiting } => {
                    turn.waiting.as_ref().map(|waiting| &waiting.execution)
                }
                next => return Ok(next),
            };
            let Some(execution) = execution else {
                return Ok(next);
            };
            let life = Some(self.life(execution).await?);
            match next {
                Step::NeedLife { of: Who::Holder } => holder = life,
                _ => waiting = life,
            }
        }
    }

    async fn take_over(
        &self,
        turn: &Turn,
        status: &str,
        me: &TakeTurnInput,
        now: i64,
    ) -> Result<Written, AwsRequestFailed> {
        let Some(holder) = &turn.holder else {
            return Ok(Written::Refused);
        };
        let record = self.own_record(me).await?;
        let its_record = self.table.record(&me.release.stack, &holder.record).await?;
        let dead = Dead {
            holder,
            record: its_record.as_ref(),
            status,
        };
        let transaction =
            transactions::take_over(turn, record.as_ref(), &dead, me, now, self.retention);
        self.table.write(&transaction).await
    }

    async fn own_record(&self, me: &TakeTurnInput) -> Result<Option<Record>, AwsRequestFailed> {
        let release = &me.release;
        self.table.record(&release.stack, &release.record).await
    }

    async fn life(&self, execution: &str) -> Result<Life, AwsRequestFailed> {
        let answer = self
            .sfn
            .describe_execution()
            .execution_arn(execution)
            .included_data(IncludedData::MetadataOnly)
            .send()
            .await;
        let answer = match answer {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_execution_does_not_exist()) =>
            {
                return Ok(Life::Unknown);
            }
            answer => answer.map_err(failed("states:DescribeExecution", execution))?,
        };
        let redrives = answer.redrive_count;
        Ok(match answer.status {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => Life::Running,
            status => Life::Ended {
                status: status.as_str().to_owned(),
                redrives: redrives
                    .and_then(|count| count.try_into().ok())
                    .unwrap_or_default(),
            },
        })
    }

    /// Answers a release that waited and waits no more. It finds out at its next look too, so that
    /// nothing is lost where this fails.
    async fn supersede(&self, displaced: &str, me: &TakeTurnInput) {
        let answer = async {
            if let Some(waiting) = self.waits.take(displaced).await? {
                let superseded = without_turn(Some(me.execution.id.clone()));
                self.waits.succeed(&waiting, &superseded).await?;
            }
            Ok::<_, AwsRequestFailed>(())
        };
        if let Err(failure) = answer.await {
            tracing::warn!(%failure, displaced, "it is superseded and was not told");
        }
    }
}

fn taken(at: i64, record: Option<&Record>, me: &TakeTurnInput) -> TurnTaken {
    let touched = record.and_then(|record| record.touched);
    TurnTaken {
        taken: true,
        superseded_by: None,
        at,
        touched: touched.is_some_and(|redrives| redrives < me.execution.redrives),
    }
}

fn without_turn(superseded_by: Option<String>) -> TurnTaken {
    TurnTaken {
        taken: false,
        superseded_by,
        at: bluegreen_runtime::now(),
        touched: false,
    }
}

async fn sleep_until(until: i64) {
    let left = until.saturating_sub(bluegreen_runtime::now());
    let left = Duration::from_millis(left.try_into().unwrap_or_default());
    tokio::time::sleep(left).await;
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;

//! The way of an execution through the state machine, as its history tells.

use anyhow::Result;
use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::HistoryEvent;
use jiff::Timestamp;
use serde::Serialize;

use crate::trouble::failed;

/// One stay in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stay {
    /// The state's name.
    pub state: String,
    /// When the execution entered it.
    pub entered: Timestamp,
    /// When it left; `None`: it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Timestamp>,
}

/// What a release does in some states one after another, in a person's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Plan,
    Turn,
    Settle,
    Migrate,
    Update,
    Verify,
    PostDeploy,
    RollBack,
    End,
}

impl Phase {
    /// As a person reads it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Turn => "wait for the turn",
            Self::Settle => "settle the release before",
            Self::Migrate => "migrate",
            Self::Update => "update the services",
            Self::Verify => "verify",
            Self::PostDeploy => "post-deploy command",
            Self::RollBack => "roll back",
            Self::End => "end",
        }
    }

    /// The phase of a state; `None` of one that only decides where to go on.
    #[must_use]
    pub fn of(state: &str) -> Option<Self> {
        match state {
            "PlanRelease" | "PlanInTurn" => Some(Self::Plan),
            "TakeTurn" => Some(Self::Turn),
            "SettleRelease" => Some(Self::Settle),
            "RunMigration" | "WaitTask" | "CheckExitCode" => Some(Self::Migrate),
            "UpdateService" => Some(Self::Update),
            "VerifyHealth" | "ExplainFailure" => Some(Self::Verify),
            "RunPostDeploy" | "WaitPostDeploy" | "CheckPostDeploy" => Some(Self::PostDeploy),
            "ChooseTarget" | "RollBack" | "VerifyRollback" | "DeregisterRevisions" => {
                Some(Self::RollBack)
            }
            "RecordCurrent" | "EndRelease" | "Succeeded" | "ReleaseFailed" => Some(Self::End),
            _ => None,
        }
    }
}

/// A phase, from the first state of it to the last without another phase between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub phase: Phase,
    /// The last state of it that was entered.
    pub state: String,
    pub from: Timestamp,
    /// `None`: it is in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl Step {
    /// How long it has lasted at `now`, or did.
    #[must_use]
    pub fn seconds(&self, now: Timestamp) -> f64 {
        let to = self.to.unwrap_or(now);
        to.duration_since(self.from).as_secs_f64().max(0.0)
    }
}

/// The phases of a way, in their order.
#[must_use]
pub fn steps(stays: &[Stay]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for stay in stays {
        let Some(phase) = Phase::of(&stay.state) else {
            continue;
        };
        match steps.last_mut() {
            Some(step) if step.phase == phase => {
                step.state.clone_from(&stay.state);
                step.to = stay.left;
            }
            _ => steps.push(Step {
                phase,
                state: stay.state.clone(),
                from: stay.entered,
                to: stay.left,
            }),
        }
    }
    steps
}

/// An execution's way so far, read on from where it was read the last time.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The stays, the oldest first.
    pub stays: Vec<Stay>,
    /// Number of the last event that was read: events are numbered from 1 on.
    read: i64,
}

impl Way {
    /// Reads what has come since.
    ///
    /// # Errors
    /// Step Functions does not tell.
    pub async fn follow(&mut self, sfn: &Client, execution: &str) -> Result<()> {
        // The newest first: a long wait has thousands of events before, and all but the last few are known.
        let mut pages = sfn
            .get_execution_history()
            .execution_arn(execution)
            .reverse_order(true)
            .include_execution_data(false)
            .into_paginator()
            .items()
            .send();
        let mut new = Vec::new();
        while let Some(event) = pages.next().await {
            let event = event.map_err(|error| {
                failed(error, "Step Functions does not tell where the execution is")
            })?;
            if event.id() <= self.read {
                break;
            }
            new.push(event);
        }
        for event in new.iter().rev() {
            self.hear(event);
        }
        Ok(())
    }

    fn hear(&mut self, event: &HistoryEvent) {
        self.read = event.id();
        let Some(at) = at(event) else {
            return;
        };
        if let Some(entered) = event.state_entered_event_details() {
            self.stays.push(Stay {
                state: entered.name().to_owned(),
                entered: at,
                left: None,
            });
        } else if event.state_exited_event_details().is_some() || ends(event) {
            let last = self.stays.last_mut().filter(|stay| stay.left.is_none());
            if let Some(stay) = last {
                stay.left = Some(at);
            }
        }
    }
}

fn at(event: &HistoryEvent) -> Option<Timestamp> {
    Timestamp::from_millisecond(event.timestamp().to_millis().ok()?).ok()
}

/// Whether the execution has ended with the event, in whatever state it was.
fn ends(event: &HistoryEvent) -> bool {
    let kind = event.r#type().as_str();
    ["Aborted", "Failed", "Succeeded", "TimedOut"]
        .iter()
        .any(|end| kind.strip_prefix("Execution") == Some(end))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aws_sdk_sfn::operation::get_execution_history::GetExecutionHistoryOutput;
    use aws_sdk_sfn::primitives::DateTime;
    use aws_sdk_sfn::types::{HistoryEventType, StateEnteredEventDetails, StateExitedEventDetails};
    use aws_smithy_mocks::{mock, mock_client};
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_state_that_does_something_belongs_to_a_phase() {
        let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../statemachine/deploy.asl.json");
        let machine = std::fs::read_to_string(machine).unwrap();
        let machine: Value = serde_json::from_str(&machine).unwrap();
        for (name, state) in machine["States"].as_object().unwrap() {
            let decides = state["Type"] == "Choice";
            assert_eq!(Phase::of(name).is_none(), decides, "{name}");
        }
    }

    fn event(id: i64, second: i64, kind: HistoryEventType, state: &str) -> HistoryEvent {
        let event = HistoryEvent::builder()
            .id(id)
            .timestamp(DateTime::from_secs(second))
            .r#type(kind.clone());
        let event = match kind {
            HistoryEventType::TaskStateEntered => {
                let entered = StateEnteredEventDetails::builder().name(state);
                event.state_entered_event_details(entered.build().unwrap())
            }
            HistoryEventType::TaskStateExited => {
                let exited = StateExitedEventDetails::builder().name(state);
                event.state_exited_event_details(exited.build().unwrap())
            }
            _ => event,
        };
        event.build().unwrap()
    }

    fn page(events: &[HistoryEvent], next: Option<&str>) -> GetExecutionHistoryOutput {
        let newest_first = events.iter().rev().cloned().collect();
        GetExecutionHistoryOutput::builder()
            .set_events(Some(newest_first))
            .set_next_token(next.map(str::to_owned))
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn a_way_is_read_on_from_where_it_was_read_the_last_time() {
        use HistoryEventType::{TaskScheduled, TaskStateEntered, TaskStateExited};
        let first = [
            event(1, 0, HistoryEventType::ExecutionStarted, ""),
            event(2, 0, TaskStateEntered, "PlanRelease"),
            event(3, 1, TaskStateExited, "PlanRelease"),
            event(4, 1, TaskStateEntered, "TakeTurn"),
        ];
        let then = [
            event(5, 2, TaskScheduled, ""),
            event(6, 3, TaskStateExited, "TakeTurn"),
            event(7, 3, TaskStateEntered, "PlanInTurn"),
            event(8, 5, HistoryEventType::ExecutionAborted, ""),
        ];
        let (before, after) = (first.clone(), then.clone());
        let rule = mock!(Client::get_execution_history)
            .match_requests(|request| request.reverse_order() == Some(true))
            .sequence()
            .output(move || page(&before, None))
            .output(move || page(&after, Some("older")))
            .output(move || page(&first, None))
            .build();
        let sfn = mock_client!(aws_sdk_sfn, [&rule]);
        let mut way = Way::default();
        way.follow(&sfn, "arn:execution").await.unwrap();
        assert_eq!(way.stays.len(), 2);
        assert_eq!(way.stays[1].left, None);
        way.follow(&sfn, "arn:execution").await.unwrap();
        let told = steps(&way.stays);
        let told: Vec<_> = told
            .iter()
            .map(|step| {
                (
                    step.phase,
                    step.from.as_second(),
                    step.to.map(|at| at.as_second()),
                )
            })
            .collect();
        let expected = [
            (Phase::Plan, 0, Some(1)),
            (Phase::Turn, 1, Some(3)),
            (Phase::Plan, 3, Some(5)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn states_of_one_phase_are_one_step_and_deciding_takes_none() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let stay = |state: &str, from, to: Option<i64>| Stay {
            state: state.to_owned(),
            entered: at(from),
            left: to.map(at),
        };
        let stays = [
            stay("DecideOnPlan", 0, Some(0)),
            stay("RunMigration", 0, Some(1)),
            stay("WaitTask", 1, Some(7)),
            stay("CheckExitCode", 7, Some(8)),
            stay("UpdateService", 8, None),
        ];
        let told = steps(&stays);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].phase, told[0].seconds(at(20))),
            (Phase::Migrate, 8.0)
        );
        assert_eq!(
            (told[1].phase, told[1].seconds(at(20))),
            (Phase::Update, 12.0)
        );
    }
}

//! Releases of a stack, for the tests.

use bluegreen_contract::{Action, Execution, FiredAlarm, Release, RequestedAction, TakeTurnInput};

pub(crate) const ME: &str = "arn:aws:states:eu-west-1:123456789012:execution:deploy:me";
pub(crate) const OTHER: &str = "arn:aws:states:eu-west-1:123456789012:execution:deploy:other";
pub(crate) const START: &str = "2026-01-01T00:00:05.000Z";
/// A minute after that start, milliseconds since 1970.
pub(crate) const NOW: i64 = 1_767_225_665_000;

/// A push to the repository.
pub(crate) fn push(execution: &str, repository: &str, order: &str) -> TakeTurnInput {
    let digest = format!("sha256:{order}");
    TakeTurnInput {
        release: Release {
            stack: "shop".to_owned(),
            action: RequestedAction::Deploy,
            repository: Some(repository.to_owned()),
            tag: Some("v2".to_owned()),
            image: Some(format!("registry/{repository}@{digest}")),
            digest: Some(digest),
            images_before: vec![],
            commit: None,
            commit_url: None,
            record: format!("release#{START}#{}", bluegreen_contract::name_of(execution)),
            order: order.to_owned(),
            started_at: START.to_owned(),
            pushed_at: Some("2026-01-01T00:00:00Z".to_owned()),
            started_by: "push of web:v2".to_owned(),
            to: None,
            contracts: None,
            alarm: None,
            force: false,
            ignore_alarms: false,
        },
        execution: Execution {
            id: execution.to_owned(),
            redrives: 0,
        },
        action: Action::Deploy,
    }
}

/// A rollback that a person asks for.
pub(crate) fn rollback(execution: &str, order: &str) -> TakeTurnInput {
    let mut asked = push(execution, "web", order);
    asked.action = Action::Rollback;
    asked.release = Release {
        action: RequestedAction::Rollback,
        repository: None,
        tag: None,
        digest: None,
        image: None,
        pushed_at: None,
        started_by: "a person".to_owned(),
        ..asked.release
    };
    asked
}

/// A rollback that an alarm asks for.
pub(crate) fn alarm(execution: &str, order: &str) -> TakeTurnInput {
    let mut asked = rollback(execution, order);
    asked.release.alarm = Some(FiredAlarm {
        name: "errors".to_owned(),
        at: START.to_owned(),
    });
    asked
}

/// The same execution, redriven.
pub(crate) fn redriven(mut asked: TakeTurnInput, redrives: u32) -> TakeTurnInput {
    asked.execution.redrives = redrives;
    asked
}

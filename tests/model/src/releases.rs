use bluegreen_contract::{Action, Execution, FiredAlarm, Release, RequestedAction, TakeTurnInput};

/// What the third release is, besides an older and a newer push of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A push of another repository.
    AnotherRepository,
    /// A rollback that a person asks for after both pushes.
    Rollback,
    /// A rollback that an alarm asks for.
    Alarm,
    /// The contract command of the older push.
    Contract,
}

/// The older push, the newer push, and the third one.
#[must_use]
pub fn releases(scenario: Scenario) -> [TakeTurnInput; 3] {
    let third = match scenario {
        Scenario::AnotherRepository => push("c", "worker", 1),
        Scenario::Rollback => rollback("c", 3),
        Scenario::Alarm => {
            let mut third = rollback("c", 3);
            third.release.alarm = Some(FiredAlarm {
                name: "errors".to_owned(),
                at: start(3),
            });
            third
        }
        Scenario::Contract => contract("c", "a", 3),
    };
    [push("a", "web", 1), push("b", "web", 2), third]
}

fn start(second: u8) -> String {
    format!("2026-01-01T00:00:0{second}.000Z")
}

fn push(name: &str, repository: &str, second: u8) -> TakeTurnInput {
    let started_at = start(second);
    TakeTurnInput {
        release: Release {
            stack: "shop".to_owned(),
            action: RequestedAction::Deploy,
            repository: Some(repository.to_owned()),
            tag: None,
            images_before: vec![],
            commit: None,
            commit_url: None,
            digest: Some(name.to_owned()),
            image: Some(name.to_owned()),
            record: record(name, second),
            order: format!("2026-01-01T00:00:0{second}#{started_at}"),
            started_at,
            pushed_at: None,
            started_by: "-".to_owned(),
            to: None,
            contracts: None,
            alarm: None,
            force: false,
            ignore_alarms: false,
        },
        execution: Execution {
            id: name.to_owned(),
            redrives: 0,
        },
        action: Action::Deploy,
    }
}

fn record(name: &str, second: u8) -> String {
    format!("release#{}#{name}", start(second))
}

/// Of the push with that name, which started in the first second.
fn contract(name: &str, of: &str, second: u8) -> TakeTurnInput {
    let mut asked = push(name, "web", second);
    asked.action = Action::Contract;
    asked.release.action = RequestedAction::Contract;
    asked.release.order = format!("0#{}", start(second));
    asked.release.digest = Some(of.to_owned());
    asked.release.image = Some(of.to_owned());
    asked.release.contracts = Some(record(of, 1));
    asked
}

fn rollback(name: &str, second: u8) -> TakeTurnInput {
    let mut asked = push(name, "web", second);
    asked.action = Action::Rollback;
    asked.release.action = RequestedAction::Rollback;
    asked.release.repository = None;
    asked.release.digest = None;
    asked.release.image = None;
    asked
}

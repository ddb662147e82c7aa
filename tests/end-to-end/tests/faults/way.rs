//! Ways through the state machine: which release comes to which state.

use crate::stand::{Behaviour, Kind};

/// What is done to a stack at rest, so that an execution comes to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// A good version is pushed.
    Release,
    /// The same, to a stack with alarms and a command after the deployment.
    FullRelease,
    /// A good version is released, and a person wants the one before it again, without a migration.
    Unmigrated,
    /// A good version is pushed, and the pipeline cannot ask what becomes of its deployment.
    Unseen,
    /// A version is pushed whose migration fails.
    BadMigration,
    /// A version is pushed whose migration does not end.
    LongMigration,
    /// A version is pushed whose command after the deployment does not end.
    LongCommand,
    /// A version is pushed that crashes.
    Unhealthy,
    /// A good version is released, and a person wants the one before it back.
    ByHand,
    /// The same, and somebody stops the way back, so that ECS goes back from it in turn.
    Interfered,
    /// The same, and somebody updates the service meanwhile.
    Overtaken,
    /// A good version is released, and an alarm fires.
    ByAlarm,
    /// An alarm fires that guards no deployment.
    QuietAlarm,
    /// A person wants a release back that there never was.
    NothingToGoBackTo,
    /// An old version comes late.
    Stale,
    /// The version that runs is released again.
    Again,
    /// A version is pushed while the release of another goes on.
    Waiting,
    /// The same, and that release is aborted.
    Bereaved,
    /// A version is pushed, and another one while its release goes on.
    HandsOn,
    /// A version is pushed after the release of another was aborted in its migration.
    Orphaned,
    /// The same, and that migration does not end.
    Stuck,
    /// A release begins while another goes on and a newer one waits.
    Ousted,
    /// A release begins while another goes on and a newer one was aborted as it waited.
    Replacing,
    /// A release is aborted where it updates the service, and redriven.
    Redriven,
    /// A good version is released, a person wants the one before it back, and ECS refuses.
    Refused,
    /// A good version is pushed, and the parameter of the stack's image cannot be written.
    Unwritten,
    /// A version is pushed that crashes, and nobody can read which releases there were.
    Unread,
    /// A good version is released, and a person wants its contract command run.
    Contracts,
}

impl Way {
    pub(crate) const ALL: [Self; 28] = [
        Self::Release,
        Self::FullRelease,
        Self::Unmigrated,
        Self::Unseen,
        Self::BadMigration,
        Self::LongMigration,
        Self::LongCommand,
        Self::Unhealthy,
        Self::ByHand,
        Self::Interfered,
        Self::Overtaken,
        Self::ByAlarm,
        Self::QuietAlarm,
        Self::NothingToGoBackTo,
        Self::Stale,
        Self::Again,
        Self::Waiting,
        Self::Bereaved,
        Self::HandsOn,
        Self::Orphaned,
        Self::Stuck,
        Self::Ousted,
        Self::Replacing,
        Self::Redriven,
        Self::Refused,
        Self::Unwritten,
        Self::Unread,
        Self::Contracts,
    ];

    /// The kinds of stack that it is gone with, the plainest first.
    pub(crate) fn kinds(self) -> Vec<Kind> {
        let shifting = [Kind::BlueGreen, Kind::Canary, Kind::Linear];
        match self {
            Self::Release | Self::Unmigrated | Self::Unseen | Self::Unhealthy | Self::ByHand => {
                [&[Kind::Rolling][..], &shifting].concat()
            }
            Self::FullRelease => [&[Kind::Full][..], &shifting].concat(),
            Self::LongCommand | Self::Contracts => vec![Kind::Full],
            Self::ByAlarm => [&[Kind::Full][..], &shifting].concat(),
            _ => vec![Kind::Rolling],
        }
    }

    /// The same, where an alarm has to be able to fire.
    pub(crate) fn kinds_with_alarms(self) -> Vec<Kind> {
        let mut kinds = self.kinds();
        for kind in &mut kinds {
            if *kind == Kind::Rolling {
                *kind = Kind::Full;
            }
        }
        kinds
    }

    /// Whether the release in question is begun by a push.
    pub(crate) fn is_pushed(self) -> bool {
        matches!(
            self,
            Self::Release
                | Self::FullRelease
                | Self::Unseen
                | Self::BadMigration
                | Self::LongMigration
                | Self::LongCommand
                | Self::Unhealthy
                | Self::Waiting
                | Self::Bereaved
                | Self::HandsOn
                | Self::Orphaned
                | Self::Stuck
                | Self::Redriven
                | Self::Unwritten
                | Self::Unread
        )
    }

    /// What the command is for that runs in the states after the deployment.
    pub(crate) fn command_afterwards(self) -> &'static str {
        match self {
            Self::Contracts => "contract",
            _ => "postDeploy",
        }
    }

    /// What the version in question does.
    pub(crate) fn behaviour(self, state: Option<&str>) -> Behaviour {
        let mut behaviour = Behaviour::default();
        match self {
            Self::BadMigration => behaviour.migration_exits = 3,
            Self::LongMigration => behaviour.migration_seconds = 600,
            Self::LongCommand => behaviour.afterwards_seconds = 600,
            Self::Unhealthy | Self::Unread => behaviour.crashes = true,
            // Its deployment is not over before it is taken back.
            Self::Unseen => behaviour.start_seconds = 30,
            _ => {}
        }
        // Long enough not to be over when it is looked at for the first time.
        match state {
            Some("WaitTask") | None => {
                behaviour.migration_seconds = behaviour.migration_seconds.max(4);
            }
            Some("WaitPostDeploy") => {
                behaviour.afterwards_seconds = behaviour.afterwards_seconds.max(4);
            }
            _ => {}
        }
        if state.is_none() {
            behaviour.afterwards_seconds = behaviour.afterwards_seconds.max(4);
        }
        behaviour
    }

    /// How the execution may end when nothing goes wrong: the verdict in its output, or its error.
    pub(crate) fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Release
            | Self::FullRelease
            | Self::Unmigrated
            | Self::ByHand
            | Self::ByAlarm
            | Self::Waiting
            | Self::Bereaved
            | Self::HandsOn
            | Self::Orphaned
            | Self::Stuck
            | Self::Replacing
            | Self::Contracts => &["succeeded"],
            // What it was about to do when it was aborted may be done when it comes again.
            Self::Redriven => &["succeeded", "nothingToDeploy"],
            Self::Unseen => &["PipelineFault"],
            Self::BadMigration => &["MigrationFailed"],
            Self::LongMigration => &["MigrationTimedOut"],
            Self::LongCommand => &["PostDeployFailed"],
            Self::Unhealthy | Self::Unread => &["DeploymentRolledBack"],
            Self::Interfered | Self::Overtaken | Self::Refused => &["RollbackFailed"],
            Self::Unwritten => &["ImageParameterNotWritten"],
            Self::QuietAlarm => &["nothingToRollBack"],
            Self::NothingToGoBackTo => &["NothingToGoBackTo"],
            Self::Stale => &["stale"],
            Self::Again => &["nothingToDeploy"],
            Self::Ousted => &["superseded"],
        }
    }
}

/// The way to a call of a state's function that the way to the state does not make.
pub(crate) fn way_to_call(state: &str, call: &str) -> Option<Way> {
    match (state, call) {
        // Alarms are asked for where there are any.
        ("PlanInTurn" | "UpdateService" | "VerifyHealth", "monitoring:DescribeAlarms") => {
            Some(Way::FullRelease)
        }
        // Somebody has to be asked about, and whoever waits is told of an end.
        ("TakeTurn", "states:DescribeExecution") => Some(Way::Waiting),
        ("TakeTurn", "dynamodb:Query" | "dynamodb:UpdateItem") => Some(Way::Bereaved),
        // A task that does not end is told to.
        ("WaitTask", "ecs:StopTask") => Some(Way::LongMigration),
        ("WaitPostDeploy", "ecs:StopTask") => Some(Way::LongCommand),
        // The deployment is over when a person wants it back.
        (
            "RollBack",
            "ecs:DescribeServiceDeployments"
            | "ecs:DescribeServiceRevisions"
            | "ecs:StopServiceDeployment",
        ) => Some(Way::Unseen),
        // A service at rest says itself what it runs.
        ("VerifyHealth", "ecs:DescribeServiceRevisions") => Some(Way::Unhealthy),
        ("VerifyRollback", "ecs:DescribeServiceRevisions") => Some(Way::Interfered),
        // The service says itself that it is back, but for one that somebody else has brought away.
        ("VerifyRollback", "ecs:ListServiceDeployments") => Some(Way::Interfered),
        // What an earlier release has left ends in its time.
        ("SettleRelease", "ecs:StopTask") => Some(Way::Stuck),
        // Who waits is told.
        ("EndRelease", "dynamodb:GetItem" | "dynamodb:UpdateItem" | "states:SendTaskSuccess") => {
            Some(Way::HandsOn)
        }
        _ => None,
    }
}

impl Way {
    /// Whether an event tells the state that what it waits for has come to its end.
    pub(crate) fn has_end_to_hear(self, state: &str) -> bool {
        match state {
            // Who gives the turn back tells by itself; of one that was aborted Step Functions does.
            "TakeTurn" => self == Self::Bereaved,
            // Nothing runs any more, or it is told to stop.
            "SettleRelease" => self == Self::Orphaned,
            _ => true,
        }
    }
}

/// Other ways to a state on which what it writes, and what follows from a fault, is another thing.
pub(crate) fn other_ways_to(state: &str) -> &'static [Way] {
    match state {
        "PlanRelease" => &[Way::QuietAlarm],
        "TakeTurn" => &[
            Way::Waiting,
            Way::Bereaved,
            Way::Orphaned,
            Way::Ousted,
            Way::Replacing,
            Way::Redriven,
        ],
        "PlanInTurn" => &[
            Way::ByAlarm,
            Way::Stale,
            Way::Again,
            Way::Redriven,
            Way::Contracts,
        ],
        "SettleRelease" => &[Way::Stuck],
        "WaitTask" => &[Way::LongMigration],
        "RunPostDeploy" => &[Way::Contracts],
        "WaitPostDeploy" => &[Way::LongCommand, Way::Contracts],
        "ChooseTarget" => &[Way::Unhealthy, Way::NothingToGoBackTo],
        "RollBack" => &[Way::Unhealthy, Way::Unseen],
        "VerifyRollback" => &[Way::Interfered, Way::Overtaken],
        "RecordCurrent" => &[Way::ByHand, Way::Unhealthy],
        "DeregisterRevisions" => &[Way::ByHand, Way::Unhealthy],
        "EndRelease" => &[Way::ByHand, Way::Unhealthy, Way::HandsOn, Way::Contracts],
        _ => &[],
    }
}

/// The way to a state; none to a state that is not known here.
pub(crate) fn way_to(state: &str) -> Option<Way> {
    Some(match state {
        "PlanRelease" | "TakeTurn" | "PlanInTurn" | "DecideOnPlan" | "RunMigration"
        | "WaitTask" | "CheckExitCode" | "UpdateService" | "VerifyHealth" | "DecideOnHealth"
        | "RecordCurrent" | "DecideOnPostDeploy" | "EndRelease" | "DecideOnEnd" | "Succeeded" => {
            Way::Release
        }
        "RunPostDeploy" | "WaitPostDeploy" | "CheckPostDeploy" => Way::FullRelease,
        "SettleRelease" => Way::Orphaned,
        "ChooseTarget" | "RollBack" | "VerifyRollback" | "DecideOnRollback" => Way::ByHand,
        "DecideOnFailure" | "DeregisterRevisions" | "ReleaseFailed" => Way::BadMigration,
        "ExplainFailure" => Way::Unhealthy,
        _ => return None,
    })
}

//! The cases: what may go wrong, in every state, with every strategy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};

use crate::machine::{Does, Machine, State, TRANSACTION};
use crate::stand::Kind;
use crate::way::{Way, other_ways_to, way_to, way_to_call};

/// What goes wrong, or happens at a bad moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disturbance {
    /// The function's process ends before it has done anything, or when it has done all.
    CrashBefore,
    CrashAfter,
    /// The function does not answer in time, and has done nothing, or all.
    TimeOutBefore,
    TimeOutAfter,
    /// The connection to the function is lost, which is called again while it still runs.
    ConnectionLost,
    /// The function is refused: too many run.
    Throttled,
    /// Every invocation by the state is refused for as long as it is tried.
    Denied,
    /// A call of the function is throttled so often that the function gives up.
    CallThrottled(String),
    /// A call of the function fails so often that the function gives up.
    CallFailed(String),
    /// A call of the function is carried out, and its answer is lost.
    CallAnswerLost(String),
    /// Somebody else writes the same item at the same time.
    Conflict,
    /// A condition of the transaction does not hold at that moment, and does afterwards.
    ConditionFailed,
    /// Reads are behind writes.
    Stale,
    /// The execution is aborted, and what it was about to do happens all the same.
    AbortedBefore,
    /// The execution is aborted when the state's function has done its work, or waits.
    AbortedAfter,
    /// The same, and the execution is redriven.
    Redriven,
    /// The event that ends the wait never comes.
    EndUnheard,
    /// It comes when the state has looked by itself.
    EndHeardLate,
    EndHeardTwice,
    /// It comes before the token is stored.
    EndHeardEarly,
    /// The event that started the release comes once more.
    EventTwice,
    /// A newer push arrives, of which no event tells.
    EventLost,
    /// A newer push arrives.
    NewerPush,
    /// An alarm of the stack fires.
    AlarmFires,
}

impl fmt::Display for Disturbance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, call) = self.words();
        match call {
            Some(call) => write!(formatter, "{name}-{}", call.replace(':', "-")),
            None => formatter.write_str(name),
        }
    }
}

impl Disturbance {
    /// What it is called, and the call of a function that it is about.
    pub(crate) fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::CrashBefore => ("crash-before", None),
            Self::CrashAfter => ("crash-after", None),
            Self::TimeOutBefore => ("time-out-before", None),
            Self::TimeOutAfter => ("time-out-after", None),
            Self::ConnectionLost => ("connection-lost", None),
            Self::Throttled => ("throttled", None),
            Self::Denied => ("denied", None),
            Self::CallThrottled(call) => ("call-throttled", Some(call)),
            Self::CallFailed(call) => ("call-failed", Some(call)),
            Self::CallAnswerLost(call) => ("call-answer-lost", Some(call)),
            Self::Conflict => ("conflict", None),
            Self::ConditionFailed => ("condition-failed", None),
            Self::Stale => ("stale-reads", None),
            Self::AbortedBefore => ("aborted-before", None),
            Self::AbortedAfter => ("aborted-after", None),
            Self::Redriven => ("redriven", None),
            Self::EndUnheard => ("end-unheard", None),
            Self::EndHeardLate => ("end-heard-late", None),
            Self::EndHeardTwice => ("end-heard-twice", None),
            Self::EndHeardEarly => ("end-heard-early", None),
            Self::EventTwice => ("event-twice", None),
            Self::EventLost => ("event-lost", None),
            Self::NewerPush => ("newer-push", None),
            Self::AlarmFires => ("alarm-fires", None),
        }
    }

    /// Whether it is something that happens while the execution is in the state, rather than what
    /// the state's own call meets.
    pub(crate) fn happens_meanwhile(&self) -> bool {
        matches!(
            self,
            Self::AbortedBefore
                | Self::AbortedAfter
                | Self::Redriven
                | Self::EventTwice
                | Self::EventLost
                | Self::NewerPush
                | Self::AlarmFires
        )
    }

    /// Whether it is about the event that ends a wait.
    pub(crate) fn is_about_an_end(&self) -> bool {
        matches!(
            self,
            Self::EndUnheard | Self::EndHeardLate | Self::EndHeardTwice | Self::EndHeardEarly
        )
    }

    /// Whether what the state writes, or whether the execution goes on, decides what comes of it.
    /// The rest is the same on each way to the state.
    fn depends_on_the_way(&self) -> bool {
        match self {
            Self::CallAnswerLost(call) => call == TRANSACTION,
            Self::CrashAfter
            | Self::Conflict
            | Self::ConditionFailed
            | Self::AbortedBefore
            | Self::AbortedAfter
            | Self::Redriven => true,
            _ => self.is_about_an_end(),
        }
    }

    /// Whether it hits any case that is played at the same time: a token does not say whose it is.
    pub(crate) fn is_played_alone(&self) -> bool {
        self.words()
            .1
            .is_some_and(|call| call.starts_with("states:SendTask"))
    }

    /// All that can be thought of for a state, sensible or not.
    fn all(state: &State) -> Vec<Self> {
        let mut all = vec![
            Self::CrashBefore,
            Self::CrashAfter,
            Self::TimeOutBefore,
            Self::TimeOutAfter,
            Self::ConnectionLost,
            Self::Throttled,
            Self::Denied,
            Self::Conflict,
            Self::ConditionFailed,
            Self::Stale,
            Self::AbortedBefore,
            Self::AbortedAfter,
            Self::Redriven,
            Self::EndUnheard,
            Self::EndHeardLate,
            Self::EndHeardTwice,
            Self::EndHeardEarly,
            Self::EventTwice,
            Self::EventLost,
            Self::NewerPush,
            Self::AlarmFires,
        ];
        if let Does::Invoke { calls, .. } = &state.does {
            for call in calls {
                all.push(Self::CallThrottled(call.clone()));
                all.push(Self::CallFailed(call.clone()));
                all.push(Self::CallAnswerLost(call.clone()));
            }
        }
        all
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) way: Way,
    pub(crate) kind: Kind,
    /// Where what goes wrong; nothing does in a case that shows that its way leads where it should.
    pub(crate) disturbed: Option<(String, Disturbance)>,
}

impl Case {
    /// Whether the call of this state is refused for as long as it is tried.
    pub(crate) fn denies(&self, state: &str) -> bool {
        self.disturbed == Some((state.to_owned(), Disturbance::Denied))
    }

    pub(crate) fn name(&self) -> String {
        let kind = self.kind.name();
        match &self.disturbed {
            Some((state, disturbance)) => {
                let name = format!("{state}::{disturbance}::{kind}");
                match other_ways_to(state).contains(&self.way) {
                    true => format!("{name}::{:?}", self.way),
                    false => name,
                }
            }
            None => format!("undisturbed::{:?}::{kind}", self.way),
        }
    }
}

/// All cases, and what was left out and why.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    pub(crate) cases: Vec<Case>,
    pub(crate) left_out: BTreeMap<&'static str, usize>,
}

impl Matrix {
    /// Every state with every disturbance and every kind of stack, where that has a meaning.
    pub(crate) fn of(machine: &Machine) -> Result<Self> {
        let mut matrix = Self::default();
        for way in Way::ALL {
            for kind in way.kinds() {
                matrix.cases.push(Case {
                    way,
                    kind,
                    disturbed: None,
                });
            }
        }
        for state in machine.states() {
            let first = way_to(&state.name);
            let first = first.with_context(|| format!("no way leads to state {}", state.name))?;
            for disturbance in Disturbance::all(state) {
                let of_call = disturbance.words().1;
                let way = of_call.and_then(|call| way_to_call(&state.name, call));
                matrix.add(state, &disturbance, way.unwrap_or(first));
                for other in other_ways_to(&state.name) {
                    if disturbance.depends_on_the_way() {
                        matrix.add(state, &disturbance, *other);
                    }
                }
            }
        }
        Ok(matrix)
    }

    /// The cases of a disturbance of a state, for each kind of stack.
    fn add(&mut self, state: &State, disturbance: &Disturbance, way: Way) {
        for kind in Kind::ALL {
            match senseless(state, disturbance, kind, way) {
                Some(reason) => *self.left_out.entry(reason).or_default() += 1,
                None => self.cases.push(Case {
                    way,
                    kind,
                    disturbed: Some((state.name.clone(), disturbance.clone())),
                }),
            }
        }
    }

    /// So many cases that meet as many states, disturbances and kinds as they can: again and again
    /// the case that adds the most that was not met yet; of equals the one whose name has the
    /// smallest hash.
    pub(crate) fn sample(&self, size: usize) -> BTreeSet<String> {
        if size >= self.cases.len() {
            return self.cases.iter().map(Case::name).collect();
        }
        let mut left: Vec<(&Case, u64)> = self
            .cases
            .iter()
            .map(|case| (case, hash(&case.name())))
            .collect();
        left.sort_by_key(|(_, hash)| *hash);
        let mut met: BTreeSet<String> = BTreeSet::new();
        let mut sample = BTreeSet::new();
        while sample.len() < size && !left.is_empty() {
            let news = |case: &Case| {
                let traits = traits(case);
                traits.into_iter().filter(|one| !met.contains(one)).count()
            };
            // The first of equals.
            let best = (0..left.len()).rev().max_by_key(|at| news(left[*at].0));
            let (case, _) = left.remove(best.unwrap_or_default());
            met.extend(traits(case));
            sample.insert(case.name());
        }
        sample
    }
}

fn traits(case: &Case) -> Vec<String> {
    let kind = case.kind.name().to_owned();
    match &case.disturbed {
        Some((state, disturbance)) => {
            let disturbance = disturbance.words().0;
            vec![
                state.clone(),
                disturbance.to_owned(),
                format!("{disturbance} {kind}"),
            ]
        }
        None => vec![format!("{:?}", case.way)],
    }
}

/// FNV-1a: the same on every machine and with every compiler.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// States between the update of the services and the end of their deployment, or of the rollback.
const STRATEGIES_DIFFER: [&str; 5] = [
    "UpdateService",
    "VerifyHealth",
    "ChooseTarget",
    "RollBack",
    "VerifyRollback",
];

/// Calls that a function may make, and does not on the way that leads to its state.
const NOT_ON_THE_WAY: [(&str, &str); 20] = [
    // The turn, and alarms, are looked at with the turn in hand.
    ("PlanRelease", "dynamodb:GetItem"),
    ("PlanRelease", "monitoring:DescribeAlarms"),
    // What a revision runs is known by then.
    ("PlanInTurn", "ecs:DescribeTaskDefinition"),
    // What the image says of itself is known by then too.
    ("PlanInTurn", "ecr:GetDownloadUrlForLayer"),
    // A release is named by a person who wants it back.
    ("ChooseTarget", "dynamodb:GetItem"),
    // Only a try after one that failed looks for the task of the first.
    ("RunMigration", "ecs:DescribeTasks"),
    ("RunPostDeploy", "ecs:DescribeTasks"),
    // Only of a command that failed is the log looked for and read.
    ("CheckExitCode", "ecs:DescribeTaskDefinition"),
    ("CheckExitCode", "logs:GetLogEvents"),
    ("CheckPostDeploy", "ecs:DescribeTaskDefinition"),
    ("CheckPostDeploy", "logs:GetLogEvents"),
    // No deployment on the ways pauses at a hook, of which the record would tell.
    ("VerifyHealth", "dynamodb:GetItem"),
    ("VerifyHealth", TRANSACTION),
    ("VerifyRollback", "dynamodb:GetItem"),
    ("VerifyRollback", TRANSACTION),
    // What an earlier release leaves on the ways there is a migration.
    ("SettleRelease", "ecs:StopServiceDeployment"),
    // A release that is gone back to was found healthy when it was deployed.
    (
        "VerifyRollback",
        "elasticloadbalancing:DescribeTargetHealth",
    ),
    // Nobody has deregistered what it goes back to.
    ("RollBack", "ecs:DescribeTaskDefinition"),
    ("RollBack", "ecs:RegisterTaskDefinition"),
    // The one that waits is the next: only of two that wait is asked whether the other one lives.
    ("EndRelease", "states:DescribeExecution"),
];

/// Why there is no such case, if there is none.
fn senseless(
    state: &State,
    disturbance: &Disturbance,
    kind: Kind,
    way: Way,
) -> Option<&'static str> {
    use Disturbance::*;
    let Does::Invoke { calls, .. } = &state.does else {
        return Some(
            "a Choice, Succeed or Fail state calls nothing and takes no time: what happens there \
             happens to the next state that does",
        );
    };
    match disturbance {
        Stale if !calls.iter().any(|call| is_read_of_ecs(call)) => {
            return Some(
                "nothing in the state reads what may be behind: the tables are read consistently",
            );
        }
        Conflict | ConditionFailed if !state.has_transactions() => {
            return Some("the state's function writes nothing into the table of releases");
        }
        Conflict | ConditionFailed if NOT_ON_THE_WAY.contains(&(&*state.name, TRANSACTION)) => {
            return Some("the state's function writes nothing into the table of releases there");
        }
        Conflict | ConditionFailed if way == Way::Ousted => {
            return Some("who gives way writes nothing");
        }
        CallAnswerLost(call) if call == TRANSACTION && way == Way::Ousted => {
            return Some("who gives way writes nothing");
        }
        end if end.is_about_an_end() && !state.waits() => {
            return Some("the state waits for nothing");
        }
        end if end.is_about_an_end() && !way.has_end_to_hear(&state.name) => {
            return Some("what the state waits for is there already, or no event tells of it");
        }
        CallAnswerLost(call) if is_read(call) => {
            return Some("a lost answer to a read is the same as a read that failed");
        }
        CallThrottled(call) | CallFailed(call) | CallAnswerLost(call)
            if NOT_ON_THE_WAY.contains(&(state.name.as_str(), call)) =>
        {
            return Some("the function does not make that call there");
        }
        EventTwice if !way.is_pushed() => {
            return Some("a release by hand has no event");
        }
        _ => {}
    }
    let kinds = match disturbance {
        AlarmFires => way.kinds_with_alarms(),
        _ => way.kinds(),
    };
    let differ = STRATEGIES_DIFFER.contains(&state.name.as_str());
    match kinds.iter().position(|one| *one == kind) {
        None => Some("the way to the state does not depend on that setting of the stack"),
        Some(0) => None,
        Some(_) if !differ => Some(
            "the strategies differ only from UpdateService to the end of the deployment or of the \
             rollback",
        ),
        Some(_) => None,
    }
}

fn is_read(call: &str) -> bool {
    let operation = call.split_once(':').map_or("", |(_, operation)| operation);
    ["Describe", "List", "Get", "BatchGet", "Query"]
        .iter()
        .any(|verb| operation.starts_with(verb))
}

fn is_read_of_ecs(call: &str) -> bool {
    call.starts_with("ecs:") && is_read(call) && call != "ecs:DescribeTaskDefinition"
}

//! Explores every order of events, for the code that ships and for mutants of it, each without one
//! of the rules: the checker must find what goes wrong then.

use bluegreen_release::turn::{Life, Seen, Step, step};
use bluegreen_release::{Condition, Effect, Transaction};
use libtest_mimic::{Arguments, Failed, Trial};
use model::{Budget, Kind, Rules, Scenario, Turns};
use stateright::{Checker, HasDiscoveries, Model};

const ALONE: &str = "one call at a time changes something";
const ROBBED: &str = "no living release loses its turn";
const NEWEST: &str = "the newest push has the place in line";
const OLDER: &str = "no older push overwrites a newer one";
const SERVES: &str = "a contract command runs while its release serves";
const PLACE: &str = "a contract command takes no push's place";
const WAITS: &str = "nobody waits for ever";
const GIVEN: &str = "who has ended has not the turn";
const OPEN: &str = "only who has the turn has an open record";

const QUIET: Budget = Budget {
    aborts: 0,
    redrives: 0,
    faults: 0,
    twice: 0,
};
/// One that is aborted and redriven.
const REDRIVEN: Budget = Budget {
    aborts: 1,
    redrives: 1,
    ..QUIET
};
const ABORTED: Budget = Budget { aborts: 2, ..QUIET };
/// Answers that are lost, deployments that fail, functions that are called twice.
const FAULTY: Budget = Budget {
    faults: 1,
    twice: 1,
    ..QUIET
};
/// A connection that is lost, or a function that crashes, besides.
const LOST: Budget = Budget {
    aborts: 1,
    faults: 1,
    ..QUIET
};

fn main() {
    let arguments = Arguments::from_args();
    let trials = shipped().into_iter().chain(mutants());
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn shipped() -> Vec<Trial> {
    let scenarios = [
        Scenario::AnotherRepository,
        Scenario::Rollback,
        Scenario::Alarm,
        Scenario::Contract,
    ];
    let budgets = [
        ("is redriven", REDRIVEN),
        ("is aborted, as another one", ABORTED),
        ("meets faults", FAULTY),
        ("loses a function and is aborted", LOST),
    ];
    let mut trials = Vec::new();
    for scenario in scenarios {
        for (what, budget) in budgets {
            let name = format!("every rule holds with {scenario:?} where one {what}");
            let print = name.clone();
            trials.push(Trial::test(name, move || explore(&print, scenario, budget)));
        }
    }
    trials
}

#[expect(clippy::print_stdout, reason = "who runs this wants the number")]
fn explore(name: &str, scenario: Scenario, budget: Budget) -> Result<(), Failed> {
    let checker = Turns::new(scenario, Rules::SHIPPED, budget)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!("{name}: {} states", checker.unique_state_count());
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match (property.expectation.discovery_is_failure(), found) {
            (true, Some(path)) => {
                let acts = path.into_actions();
                return Err(format!("{}: {acts:#?}", property.name).into());
            }
            (false, None) if property.name == "a dead one is taken over" && budget.aborts == 0 => {}
            (false, None) => return Err(format!("never: {}", property.name).into()),
            _ => {}
        }
    }
    Ok(())
}

struct Mutant {
    name: &'static str,
    rules: Rules,
    scenario: Scenario,
    budget: Budget,
    breaks: &'static str,
}

fn mutants() -> Vec<Trial> {
    let decides = |name, step, budget, breaks| Mutant {
        name,
        rules: Rules {
            step,
            ..Rules::SHIPPED
        },
        scenario: Scenario::AnotherRepository,
        budget,
        breaks,
    };
    let writes = |name, written, budget, breaks| Mutant {
        name,
        rules: Rules {
            written,
            ..Rules::SHIPPED
        },
        scenario: Scenario::AnotherRepository,
        budget,
        breaks,
    };
    let all = [
        decides(
            "takes the turn of a living one",
            deaf_to_the_holder,
            QUIET,
            ROBBED,
        ),
        decides(
            "takes over before the last call is over",
            hasty,
            ABORTED,
            ALONE,
        ),
        decides(
            "retakes before the last call is over",
            hasty_again,
            REDRIVEN,
            ALONE,
        ),
        decides("takes no dead one's turn", patient, ABORTED, WAITS),
        decides(
            "takes no dead one's place",
            deaf_to_the_place,
            ABORTED,
            WAITS,
        ),
        decides("gives no way to a newer one", stubborn, QUIET, NEWEST),
        decides("displaces no older one", polite, QUIET, NEWEST),
        decides(
            "believes what was told of before a redrive",
            credulous,
            REDRIVEN,
            ROBBED,
        ),
        decides("keeps what an earlier try had", keeps, REDRIVEN, WAITS),
        Mutant {
            name: "deploys what is stale",
            rules: Rules {
                stale: false,
                ..Rules::SHIPPED
            },
            scenario: Scenario::AnotherRepository,
            budget: QUIET,
            breaks: OLDER,
        },
        Mutant {
            scenario: Scenario::Alarm,
            ..decides("lets an alarm stand in line", queueing, QUIET, WAITS)
        },
        Mutant {
            name: "waits for no earlier call",
            rules: Rules {
                fenced: false,
                ..Rules::SHIPPED
            },
            scenario: Scenario::AnotherRepository,
            budget: FAULTY,
            breaks: ALONE,
        },
        Mutant {
            name: "ends while a call that came late changes something",
            rules: Rules {
                ends_alone: false,
                ..Rules::SHIPPED
            },
            scenario: Scenario::AnotherRepository,
            budget: FAULTY,
            breaks: ALONE,
        },
        writes(
            "begins though another call was begun since",
            |kind, one| unfenced(Kind::Begin, kind, one),
            FAULTY,
            ALONE,
        ),
        writes(
            "takes without conditions",
            |kind, one| without(Kind::Take, kind, one),
            QUIET,
            ALONE,
        ),
        writes(
            "takes over without conditions",
            |kind, one| without(Kind::TakeOver, kind, one),
            REDRIVEN,
            ALONE,
        ),
        writes(
            "takes over though something was begun since",
            |kind, one| unfenced(Kind::TakeOver, kind, one),
            ABORTED,
            ALONE,
        ),
        writes(
            "retakes though something was begun since",
            |kind, one| unfenced(Kind::Retake, kind, one),
            REDRIVEN,
            ALONE,
        ),
        writes(
            "begins without conditions",
            |kind, one| without(Kind::Begin, kind, one),
            REDRIVEN,
            ALONE,
        ),
        writes(
            "serves without conditions",
            |kind, one| without(Kind::Serves, kind, one),
            ABORTED,
            OLDER,
        ),
        writes(
            "ends without conditions",
            |kind, one| without(Kind::End, kind, one),
            REDRIVEN,
            ALONE,
        ),
        writes(
            "stands in line without conditions",
            |kind, one| without(Kind::StandInLine, kind, one),
            FAULTY,
            NEWEST,
        ),
        Mutant {
            scenario: Scenario::Contract,
            ..decides(
                "lets a contract command displace pushes",
                pushy,
                QUIET,
                PLACE,
            )
        },
        Mutant {
            scenario: Scenario::Contract,
            ..writes(
                "contracts without conditions",
                |kind, one| without(Kind::Begin, kind, one),
                REDRIVEN,
                SERVES,
            )
        },
        writes("gives back without closing", alone_on_the_turn, QUIET, OPEN),
        writes("takes over without closing", unrecorded, ABORTED, OPEN),
        writes("does not give back", keeps_the_turn, QUIET, GIVEN),
    ];
    all.into_iter().map(trial).collect()
}

fn trial(mutant: Mutant) -> Trial {
    let name = format!("a mutant is found that {}", mutant.name);
    Trial::test(name, move || find(&mutant))
}

fn find(mutant: &Mutant) -> Result<(), Failed> {
    let checker = Turns::new(mutant.scenario, mutant.rules, mutant.budget)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf([mutant.breaks].into()))
        .spawn_bfs()
        .join();
    match checker.discovery(mutant.breaks) {
        Some(_) => Ok(()),
        None => Err(format!("still holds: {}", mutant.breaks).into()),
    }
}

// Mutants of the decision.

fn deaf_to_the_holder(seen: &Seen<'_>) -> Step {
    let dead = Life::Ended {
        status: "ABORTED".to_owned(),
        redrives: u32::MAX,
    };
    step(&Seen {
        holder: seen.holder.map(|_| &dead),
        ..*seen
    })
}

fn credulous(seen: &Seen<'_>) -> Step {
    let news = seen.holder.cloned().map(|life| match life {
        Life::Ended { status, .. } => Life::Ended {
            status,
            redrives: u32::MAX,
        },
        life => life,
    });
    step(&Seen {
        holder: news.as_ref(),
        ..*seen
    })
}

fn hasty(seen: &Seen<'_>) -> Step {
    let holder = seen.turn.holder.as_ref();
    match holder.is_some_and(|holder| holder.execution != seen.me.execution.id) {
        true => step(&Seen {
            now: i64::MAX,
            ..*seen
        }),
        false => step(seen),
    }
}

fn hasty_again(seen: &Seen<'_>) -> Step {
    let holder = seen.turn.holder.as_ref();
    match holder.is_some_and(|holder| holder.execution == seen.me.execution.id) {
        true => step(&Seen {
            now: i64::MAX,
            ..*seen
        }),
        false => step(seen),
    }
}

fn patient(seen: &Seen<'_>) -> Step {
    match step(seen) {
        Step::TakeOver { .. } => Step::Wait { until: None },
        next => next,
    }
}

fn deaf_to_the_place(seen: &Seen<'_>) -> Step {
    step(&Seen {
        waiting: seen.waiting.map(|_| &Life::Running),
        ..*seen
    })
}

fn stubborn(seen: &Seen<'_>) -> Step {
    match step(seen) {
        Step::GiveWay { .. } => Step::StandInLine { displacing: None },
        next => next,
    }
}

fn polite(seen: &Seen<'_>) -> Step {
    match step(seen) {
        Step::StandInLine {
            displacing: Some(_),
        } => Step::Wait { until: None },
        next => next,
    }
}

/// Its turn is its own whatever try took it; every call is refused then.
fn keeps(seen: &Seen<'_>) -> Step {
    match step(seen) {
        Step::Retake => Step::Keep,
        next => next,
    }
}

fn queueing(seen: &Seen<'_>) -> Step {
    match (step(seen), &seen.me.release.alarm, &seen.turn.holder) {
        (Step::Wait { .. }, Some(_), Some(holder)) if holder.execution != seen.me.execution.id => {
            Step::StandInLine { displacing: None }
        }
        (next, ..) => next,
    }
}

/// A contract command has the place of the newest release.
fn pushy(seen: &Seen<'_>) -> Step {
    let mut me = seen.me.clone();
    if me.release.contracts.is_some() {
        me.release.order = "9".to_owned();
    }
    step(&Seen { me: &me, ..*seen })
}

// Mutants of what is written.

/// The change of the turn has no conditions.
fn without(which: Kind, kind: Kind, mut transaction: Transaction) -> Transaction {
    if which == kind {
        transaction.changes[0].conditions.clear();
    }
    transaction
}

/// The change of the turn is made whatever was begun since it was read.
fn unfenced(which: Kind, kind: Kind, mut transaction: Transaction) -> Transaction {
    if which == kind {
        transaction.changes[0]
            .conditions
            .retain(|condition| match condition {
                Condition::Absent(name) | Condition::Equals(name, _) => {
                    !["changingBy", "changingUntil"].contains(name)
                }
            });
    }
    transaction
}

fn alone_on_the_turn(kind: Kind, mut transaction: Transaction) -> Transaction {
    if kind == Kind::End {
        transaction.changes.truncate(1);
    }
    transaction
}

fn unrecorded(kind: Kind, mut transaction: Transaction) -> Transaction {
    if kind == Kind::TakeOver {
        transaction.changes.truncate(2);
    }
    transaction
}

fn keeps_the_turn(kind: Kind, mut transaction: Transaction) -> Transaction {
    if kind == Kind::End && transaction.changes[0].item == "turn" {
        transaction.changes[0].effect = Effect::Check;
    }
    transaction
}

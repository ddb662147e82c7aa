use crate::items::{Items, Shared};
use crate::process::{Process, Stage};
use crate::releases::{Scenario, releases};
use bluegreen_contract::{Execution, Goal, GoodRelease, Release, RequestedAction, TakeTurnInput};
use bluegreen_release::memory::Memory;
use bluegreen_release::transactions::{self, Dead};
use bluegreen_release::turn::{Holder, Life, Seen, Step, TURN, Turn, Who, step};
use bluegreen_release::{
    Beginning, CallInProgress, Changing, End, Retention, Seconds, Serves, Transaction,
};
use bluegreen_runtime::LambdaCall;
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// What is decided, and what is written: the code that ships, or a mutant of it.
#[derive(Clone, Copy)]
pub struct Rules {
    pub step: fn(&Seen<'_>) -> Step,
    pub written: fn(Kind, Transaction) -> Transaction,
    /// Whether a push is not deployed that is older than one that was.
    pub stale: bool,
    /// Whether a call that is to change something waits for another one of its try.
    pub fenced: bool,
    /// Whether the call that ends a release does.
    pub ends_alone: bool,
}

impl Rules {
    /// The code that ships.
    pub const SHIPPED: Self = Self {
        step,
        written: |_, transaction| transaction,
        stale: true,
        fenced: true,
        ends_alone: true,
    };
}

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    StandInLine,
    Take,
    TakeOver,
    Retake,
    Begin,
    Serves,
    End,
}

/// How far a function is that has read what it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It will write what it has decided.
    Deciding,
    /// It has written that it is about to change something, and may do so at any moment.
    Changing,
}

/// A function at work.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Call {
    /// The release for which it works, and the try of its execution that called it.
    pub release: usize,
    pub redrives: u32,
    pub kind: Kind,
    pub phase: Phase,
    /// The connection to it is lost: nobody hears what it answers, and it may be called again.
    pub lost: bool,
    /// Tells it apart from the other calls of this kind by its try: every further one takes a fault.
    pub number: u8,
    /// What it will write.
    pub transaction: Shared<Transaction>,
    /// The release whose place it takes.
    pub displaces: Option<usize>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct World {
    pub items: Shared<Items>,
    pub processes: [Process; 3],
    pub calls: Vec<Call>,
    /// The time is past the one until which the holder's last call may change something.
    pub past: bool,
    pub left: Budget,
    /// How often a place in line was taken.
    pub places: u8,
    /// Pushes of the two that were found to serve.
    pub served: [bool; 2],
    /// What must never happen and did.
    pub wrong: BTreeSet<&'static str>,
}

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub aborts: u8,
    pub redrives: u8,
    /// Answers and connections that are lost, functions that crash, deployments that fail.
    pub faults: u8,
    /// Functions of one release that look at the turn at once, besides the first.
    pub twice: u8,
}

/// What happens next. The numbers are of releases, or of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `stale`: of the redriven ones, Step Functions tells what they were before.
    Look {
        release: usize,
        stale: bool,
    },
    Call(usize),
    /// The displaced release is told, or the answer is lost.
    Write {
        call: usize,
        told: bool,
    },
    WriteAndLoseTheAnswer(usize),
    /// The function has finished.
    Return(usize),
    /// It ends before it has finished.
    Die(usize),
    /// The connection to it is lost, and it goes on.
    Lose(usize),
    /// Its deployment has failed.
    Fail(usize),
    TimePasses,
    Abort(usize),
    Redrive(usize),
}

/// The releases that want the turn.
pub struct Turns {
    releases: [TakeTurnInput; 3],
    rules: Rules,
    budget: Budget,
}

/// Until when the first call of a turn may change something; each later one has a bit more.
const UNTIL: i64 = 1_000_000_000_000;
const BEFORE: i64 = 0;
const PAST: i64 = 2 * UNTIL;
const RETENTION: Retention = Retention { days: 1 };
/// More often no place in line is taken unless releases displace each other without end: each of
/// three stands there once, and again after each redrive and each place that was lost to an abort.
const PLACES: u8 = 12;

const OVERTAKEN: &str = "an older push is before a newer one";
const ROBBED: &str = "a living release loses its turn";
const OVERWRITTEN: &str = "an older push overwrites a newer one";
const EARLY: &str = "a contract command runs while another release serves than its own";
const PUSHY: &str = "a contract command takes the place of a push";
const KEPT: &str = "an end gives the turn not back";
const HOPELESS: &str = "what was just read allows no write";

impl Turns {
    #[must_use]
    pub fn new(scenario: Scenario, rules: Rules, budget: Budget) -> Self {
        Self {
            releases: releases(scenario),
            rules,
            budget,
        }
    }

    fn asked(&self, release: usize, redrives: u32) -> TakeTurnInput {
        let mut asked = self.releases[release].clone();
        asked.execution.redrives = redrives;
        asked
    }

    fn of(&self, execution: &str) -> Option<usize> {
        self.releases
            .iter()
            .position(|release| release.execution.id == execution)
    }

    fn life(&self, world: &World, execution: &str, stale: bool) -> Life {
        let known = self.of(execution).map(|release| world.processes[release]);
        match known {
            Some(one) if one.is_under_way() && !(stale && one.redrives > 0) => Life::Running,
            Some(one) => ended(one.redrives - u32::from(stale && one.redrives > 0)),
            None => ended(0),
        }
    }

    fn step(&self, world: &World, me: &TakeTurnInput, turn: &Turn, stale: bool) -> Step {
        let (mut holder, mut waiting) = (None, None);
        loop {
            let next = (self.rules.step)(&Seen {
                turn,
                me,
                holder: holder.as_ref(),
                waiting: waiting.as_ref(),
                now: if world.past { PAST } else { BEFORE },
            });
            match (&next, &turn.holder, &turn.waiting) {
                (Step::NeedLife { of: Who::Holder }, Some(one), _) => {
                    holder = Some(self.life(world, &one.execution, stale));
                }
                (Step::NeedLife { of: Who::Waiting }, _, Some(one)) => {
                    waiting = Some(self.life(world, &one.execution, stale));
                }
                _ => return next,
            }
        }
    }

    /// A look at the turn; `None`: nothing comes of it.
    fn look(&self, mut world: World, release: usize, stale: bool) -> Option<World> {
        let redrives = world.processes[release].redrives;
        let me = self.asked(release, redrives);
        let items = world.items.clone();
        let turn = &items.turn;
        let own = items.record(&me.release.record);
        let now = time_of(release, redrives);
        let mut displaces = None;
        let (kind, transaction) = match self.step(&world, &me, turn, stale) {
            Step::Keep => {
                let held = turn.holder.as_ref().map(|holder| holder.redrives);
                if held != Some(redrives) {
                    world.wrong.insert(HOPELESS);
                }
                world.processes[release].stage = self.plan(turn, release);
                return Some(world);
            }
            Step::GiveWay { .. } => {
                world.processes[release].stage = Stage::End("superseded");
                return Some(world);
            }
            Step::Wait { .. } | Step::NeedLife { .. } => {
                let place = turn
                    .waiting
                    .as_ref()
                    .and_then(|place| self.of(&place.execution));
                let holds = own_turn(turn, &me).is_some();
                let is_behind = release == 1 && place == Some(0) && !holds;
                return is_behind.then(|| {
                    world.wrong.insert(OVERTAKEN);
                    world
                });
            }
            Step::StandInLine { displacing } => {
                displaces = displacing.and_then(|other| self.of(&other));
                (Kind::StandInLine, transactions::stand_in_line(turn, &me))
            }
            Step::Take => (
                Kind::Take,
                transactions::take(turn, own.as_ref(), &me, now, RETENTION),
            ),
            Step::Retake => (
                Kind::Retake,
                transactions::retake(turn.holder.as_ref()?, &me, now),
            ),
            Step::TakeOver { status } => {
                let holder = turn.holder.as_ref()?;
                let record = world.items.record(&holder.record);
                let dead = Dead {
                    holder,
                    record: record.as_ref(),
                    status: &status,
                };
                (
                    Kind::TakeOver,
                    transactions::take_over(turn, own.as_ref(), &dead, &me, now, RETENTION),
                )
            }
        };
        let same = world.calls.iter().filter(|call| {
            call.release == release && call.redrives == redrives && is_look(call.kind)
        });
        if same.count() > 0 {
            world.left.twice = world.left.twice.checked_sub(1)?;
        }
        Some(self.calls(world, release, kind, transaction, displaces))
    }

    /// With the turn in hand: is there anything to do?
    fn plan(&self, turn: &Turn, release: usize) -> Stage {
        let me = &self.releases[release].release;
        if me.action == RequestedAction::Contract {
            let current = turn.current.as_ref();
            return match current.is_some_and(|current| is_of(&current.record, me)) {
                true => Stage::Update,
                false => Stage::End("nothingToContract"),
            };
        }
        let deployed = me
            .repository
            .as_deref()
            .and_then(|name| turn.deployed(name));
        match deployed {
            Some(deployed) if self.rules.stale && me.order.as_str() < deployed => {
                Stage::End("stale")
            }
            _ => Stage::Update,
        }
    }

    fn calls(
        &self,
        mut world: World,
        release: usize,
        kind: Kind,
        transaction: Transaction,
        displaces: Option<usize>,
    ) -> World {
        let transaction = (self.rules.written)(kind, transaction);
        if !world.items.allows(&transaction) {
            world.wrong.insert(HOPELESS);
        }
        world.calls.push(Call {
            release,
            redrives: world.processes[release].redrives,
            kind,
            phase: Phase::Deciding,
            lost: false,
            number: world.left.faults,
            transaction: Shared::new(transaction),
            displaces,
        });
        world
    }

    /// The function of the state in which the execution is; `None`: it waits for an earlier call.
    fn call(&self, mut world: World, release: usize) -> Option<World> {
        let process = world.processes[release];
        let me = self.asked(release, process.redrives);
        let (asked, execution) = (&me.release, &me.execution);
        let items = world.items.clone();
        let turn = &items.turn;
        let known = turn
            .holder
            .as_ref()
            .and_then(|holder| holder.changing_until);
        let lambda = |kind| LambdaCall {
            id: id(release, process.redrives, kind, world.left.faults),
            until: known.unwrap_or(UNTIL) + 1,
        };
        let time = time_of(release, process.redrives);
        let waits = match process.stage {
            Stage::End(_) => self.rules.ends_alone,
            _ => self.rules.fenced,
        };
        let now = match world.past || !waits {
            true => PAST + time,
            false => BEFORE + time,
        };
        let (kind, decided) = match process.stage {
            Stage::Update => {
                let call = lambda(Kind::Begin);
                let beginning = Beginning {
                    changing: match asked.action {
                        RequestedAction::Contract => Changing::Contract,
                        _ => Changing::Services,
                    },
                    before: None,
                    services: None,
                    target: None,
                    call: &call,
                };
                let decided = transactions::begin(turn, asked, execution, &beginning, now);
                (Kind::Begin, decided.ok()?)
            }
            Stage::RecordCurrent => {
                let call = lambda(Kind::Serves);
                let decided = self.serves(&world, turn, &me, &call, now);
                (Kind::Serves, decided.ok()?)
            }
            Stage::End(verdict) => {
                let decided = self.end(&world, turn, &me, verdict, now);
                (Kind::End, decided.ok()?)
            }
            Stage::TakeTurn | Stage::Over => return None,
        };
        Some(match decided {
            Some(transaction) => self.calls(world, release, kind, transaction, None),
            None if kind == Kind::End => {
                world.processes[release].stage = Stage::Over;
                world
            }
            // The error ExecutionRedriven.
            None => {
                world.processes[release].stage = Stage::TakeTurn;
                world
            }
        })
    }

    fn serves(
        &self,
        world: &World,
        turn: &Turn,
        me: &TakeTurnInput,
        call: &LambdaCall,
        now: i64,
    ) -> Result<Option<Transaction>, CallInProgress> {
        let target = GoodRelease {
            record: "release#0#z".to_owned(),
            repository: "web".to_owned(),
            tag: None,
            digest: "z".to_owned(),
            image: "z".to_owned(),
            restores: "release#0#z".to_owned(),
        };
        let serves = match me.release.action {
            RequestedAction::Deploy => Serves::Deployment {
                services: &[],
                from: now,
            },
            RequestedAction::Rollback => Serves::Rollback {
                target: Goal::Release(&target),
                services: &[],
                from: now,
            },
            RequestedAction::Contract => Serves::Same,
        };
        let current = turn.current.as_ref();
        let former = current.and_then(|current| world.items.record(&current.record));
        let (release, execution) = (&me.release, &me.execution);
        transactions::serves(
            turn,
            former.as_ref(),
            release,
            execution,
            &serves,
            call,
            now,
        )
    }

    fn end(
        &self,
        world: &World,
        turn: &Turn,
        me: &TakeTurnInput,
        verdict: &'static str,
        now: i64,
    ) -> Result<Option<Transaction>, CallInProgress> {
        let end = End {
            verdict,
            cause: "-",
            error: None,
            seconds: &Seconds::default(),
            left_running: false,
        };
        let record = world.items.record(&me.release.record);
        let (release, execution): (_, &Execution) = (&me.release, &me.execution);
        transactions::end(
            turn,
            record.as_ref(),
            release,
            execution,
            &end,
            now,
            RETENTION,
        )
    }

    /// A function writes what it has decided.
    fn write(&self, mut world: World, index: usize, told: bool, answered: bool) -> World {
        let mut call = world.calls.remove(index);
        let Some(items) = world.items.after(&call.transaction) else {
            return world;
        };
        let before = std::mem::replace(&mut world.items, items);
        let before = &before.turn;
        let Call {
            release,
            redrives,
            kind,
            ..
        } = call;
        let process = &mut world.processes[release];
        let is_awaited = answered && process.lives && process.redrives == redrives;
        match kind {
            Kind::StandInLine => {
                world.places += 1;
                let place = before
                    .waiting
                    .as_ref()
                    .and_then(|place| self.of(&place.execution));
                let newer = world.processes[1];
                if release == 0 && place == Some(1) && newer.is_under_way() && newer.redrives == 0 {
                    world.wrong.insert(OVERTAKEN);
                }
                if self.contracts(release) && call.displaces.is_some() {
                    world.wrong.insert(PUSHY);
                }
                let displaced = call.displaces.filter(|_| told);
                let displaced = displaced.map(|displaced| &mut world.processes[displaced]);
                if let Some(displaced) =
                    displaced.filter(|other| other.lives && other.stage == Stage::TakeTurn)
                {
                    displaced.stage = Stage::End("superseded");
                }
            }
            Kind::TakeOver => {
                let robbed = before.holder.as_ref().filter(|holder| {
                    let process = self.of(&holder.execution).map(|of| world.processes[of]);
                    process.is_some_and(|one| one.is_under_way() && one.redrives == holder.redrives)
                });
                if robbed.is_some() {
                    world.wrong.insert(ROBBED);
                }
            }
            Kind::Take | Kind::Retake => {}
            Kind::Begin => {
                if release == 0 && world.served[1] {
                    world.wrong.insert(OVERWRITTEN);
                }
                let me = &self.releases[release].release;
                let serves = before.current.as_ref();
                if me.contracts.is_some() && !serves.is_some_and(|it| is_of(&it.record, me)) {
                    world.wrong.insert(EARLY);
                }
                world.past = false;
                call.phase = Phase::Changing;
                world.calls.push(call);
            }
            Kind::Serves => {
                if release == 0 && world.served[1] {
                    world.wrong.insert(OVERWRITTEN);
                }
                if let Some(served) = world.served.get_mut(release) {
                    *served = true;
                }
                // The parameter is to be written.
                world.past = false;
                call.phase = Phase::Changing;
                world.calls.push(call);
            }
            Kind::End => {
                let mut changed = call.transaction.changes.iter();
                let me = self.asked(release, redrives);
                let holds = own_turn(&world.items.turn, &me).is_some();
                if holds && changed.any(|change| change.item == TURN) {
                    world.wrong.insert(KEPT);
                }
                if is_awaited {
                    process.stage = Stage::Over;
                }
            }
        }
        world
    }

    /// A function that may have changed something has finished, and its state goes on where it is
    /// heard.
    fn returns(&self, mut world: World, index: usize, next: Stage) -> World {
        let call = world.calls.remove(index);
        let id = id(call.release, call.redrives, call.kind, call.number);
        let stack = &self.releases[call.release].release.stack;
        if let Some(items) = world.items.after(&transactions::finish(stack, &id)) {
            world.items = items;
        }
        let process = &mut world.processes[call.release];
        if is_heard_by(&call, process) {
            process.stage = next;
        }
        world
    }

    fn acts(&self, world: &World, with_faults: bool, acts: &mut Vec<Act>) {
        for (release, process) in world.processes.iter().enumerate() {
            self.acts_of(world, release, process, with_faults, acts);
        }
        for (index, call) in world.calls.iter().enumerate() {
            match call.phase {
                Phase::Deciding => {
                    acts.push(Act::Write {
                        call: index,
                        told: true,
                    });
                    if with_faults && world.left.faults > 0 {
                        match call.displaces {
                            Some(_) => acts.push(Act::Write {
                                call: index,
                                told: false,
                            }),
                            None if call.kind == Kind::End => {
                                acts.push(Act::WriteAndLoseTheAnswer(index));
                            }
                            None => {}
                        }
                    }
                }
                Phase::Changing => {
                    acts.push(Act::Return(index));
                    if with_faults && world.left.faults > 0 {
                        acts.push(Act::Die(index));
                        if call.kind == Kind::Begin {
                            acts.push(Act::Fail(index));
                        }
                    }
                }
            }
            let is_awaited = is_heard_by(call, &world.processes[call.release]);
            if with_faults && world.left.faults > 0 && may_change(call.kind) && is_awaited {
                acts.push(Act::Lose(index));
            }
        }
        let is_changing = |call: &Call| call.phase == Phase::Changing;
        if world.past || world.calls.iter().any(is_changing) {
            return;
        }
        // Nothing that was begun goes on: who waits for it waits for its time alone.
        let holder = world.items.turn.holder.as_ref();
        if holder.is_some_and(|holder| holder.changing_until.is_some()) {
            acts.push(Act::TimePasses);
        }
    }

    fn acts_of(
        &self,
        world: &World,
        release: usize,
        process: &Process,
        with_faults: bool,
        acts: &mut Vec<Act>,
    ) {
        if !process.lives {
            if with_faults && world.left.redrives > 0 {
                acts.push(Act::Redrive(release));
            }
            return;
        }
        if process.is_under_way() && with_faults && world.left.aborts > 0 {
            acts.push(Act::Abort(release));
        }
        let is_called = world.calls.iter().any(|call| {
            call.release == release && is_heard_by(call, process) && !is_look(call.kind)
        });
        match process.stage {
            Stage::TakeTurn => {
                acts.push(Act::Look {
                    release,
                    stale: false,
                });
                if with_faults && world.processes.iter().any(|other| other.redrives > 0) {
                    acts.push(Act::Look {
                        release,
                        stale: true,
                    });
                }
            }
            Stage::Update | Stage::RecordCurrent | Stage::End(_) if !is_called => {
                acts.push(Act::Call(release));
            }
            Stage::Update | Stage::RecordCurrent | Stage::End(_) | Stage::Over => {}
        }
    }

    fn does(&self, before: &World, act: &Act) -> Option<World> {
        let mut world = before.clone();
        match *act {
            Act::Look { release, stale } => world = self.look(world, release, stale)?,
            Act::Call(release) => world = self.call(world, release)?,
            Act::Write { call, told } => {
                if !told {
                    world.left.faults -= 1;
                }
                world = self.write(world, call, told, true);
            }
            Act::WriteAndLoseTheAnswer(call) => {
                world.left.faults -= 1;
                world = self.write(world, call, false, false);
            }
            Act::Return(call) => {
                let next = match world.calls[call].kind {
                    Kind::Begin if self.contracts(world.calls[call].release) => {
                        Stage::End("succeeded")
                    }
                    Kind::Serves => Stage::End("succeeded"),
                    _ => Stage::RecordCurrent,
                };
                world = self.returns(world, call, next);
            }
            Act::Die(call) => {
                world.left.faults -= 1;
                world.calls.remove(call);
            }
            Act::Lose(call) => {
                world.left.faults -= 1;
                world.calls[call].lost = true;
            }
            Act::Fail(call) => {
                world.left.faults -= 1;
                world = self.returns(world, call, Stage::End("failed"));
            }
            Act::TimePasses => world.past = true,
            Act::Abort(release) => {
                world.left.aborts -= 1;
                world.processes[release].lives = false;
            }
            Act::Redrive(release) => {
                world.left.redrives -= 1;
                world.processes[release].lives = true;
                world.processes[release].redrives += 1;
            }
        }
        let holder = world.items.turn.holder.as_ref();
        if holder.is_none_or(|holder| holder.changing_until.is_none()) {
            world.past = false;
        }
        Some(world)
    }

    fn contracts(&self, release: usize) -> bool {
        self.releases[release].release.contracts.is_some()
    }

    /// Without another fault something happens still.
    fn goes_on(&self, world: &World) -> bool {
        let mut acts = Vec::new();
        self.acts(world, false, &mut acts);
        acts.iter().any(|act| self.does(world, act).is_some())
    }
}

impl Model for Turns {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            items: Items::new(Memory::default()),
            processes: [Process::NEW; 3],
            calls: Vec::new(),
            past: false,
            left: self.budget,
            places: 0,
            served: [false; 2],
            wrong: BTreeSet::new(),
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        self.acts(world, true, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        self.does(world, &act)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "one call at a time changes something",
                |_, world: &World| {
                    let changing = world.calls.iter();
                    let changing = changing.filter(|call| call.phase == Phase::Changing);
                    changing.count() <= 1
                },
            ),
            Property::always("no living release loses its turn", |_, world: &World| {
                !world.wrong.contains(ROBBED)
            }),
            Property::always(
                "the newest push has the place in line",
                |_, world: &World| !world.wrong.contains(OVERTAKEN),
            ),
            Property::always(
                "no older push overwrites a newer one",
                |_, world: &World| !world.wrong.contains(OVERWRITTEN),
            ),
            Property::always(
                "a contract command runs while its release serves",
                |_, world: &World| !world.wrong.contains(EARLY),
            ),
            Property::always(
                "a contract command takes no push's place",
                |_, world: &World| !world.wrong.contains(PUSHY),
            ),
            Property::always("nobody waits for ever", |turns: &Turns, world: &World| {
                let all_over = !world.processes.iter().any(Process::is_under_way);
                (all_over || turns.goes_on(world))
                    && world.places <= PLACES
                    && !world.wrong.contains(HOPELESS)
            }),
            Property::always("who has ended has not the turn", |_, world: &World| {
                !world.wrong.contains(KEPT)
            }),
            Property::always(
                "only who has the turn has an open record",
                |_, world: &World| world.items.is_closed_behind,
            ),
            Property::always(
                "what serves is on record as a success",
                |_, world: &World| world.items.is_good,
            ),
            Property::sometimes("a newer push displaces an older one", |_, world: &World| {
                let waits = world.items.turn.waiting.as_ref();
                waits.is_some_and(|waiting| waiting.execution == "b")
                    && world.processes[0].stage == Stage::End("superseded")
            }),
            Property::sometimes("a dead one is taken over", |_, world: &World| {
                world.items.turn.unsettled.is_some()
            }),
            Property::sometimes("everybody ends", |_, world: &World| {
                let mut processes = world.processes.iter();
                processes.all(|process| process.stage == Stage::Over)
            }),
        ]
    }
}

/// The turn, if this release has it, whatever the try.
fn own_turn<'a>(turn: &'a Turn, me: &TakeTurnInput) -> Option<&'a Holder> {
    turn.holder
        .as_ref()
        .filter(|holder| holder.execution == me.execution.id)
}

/// Whether the record is that of the release whose contract command this one runs.
fn is_of(record: &str, me: &Release) -> bool {
    me.contracts.as_deref() == Some(record)
}

fn ended(redrives: u32) -> Life {
    Life::Ended {
        status: "ABORTED".to_owned(),
        redrives,
    }
}

fn is_look(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::StandInLine | Kind::Take | Kind::TakeOver | Kind::Retake
    )
}

/// Whether a function of this kind changes something after it has written that.
fn may_change(kind: Kind) -> bool {
    matches!(kind, Kind::Begin | Kind::Serves)
}

/// Whether the state machine hears what the function answers.
fn is_heard_by(call: &Call, process: &Process) -> bool {
    !call.lost && process.lives && process.redrives == call.redrives
}

fn id(release: usize, redrives: u32, kind: Kind, number: u8) -> String {
    format!("{release}.{redrives}.{kind:?}.{number}")
}

/// Every try of every release takes the turn at a time of its own.
fn time_of(release: usize, redrives: u32) -> i64 {
    let of_release = i64::try_from(release).unwrap_or_default() * 100_000;
    of_release + i64::from(redrives) * 1000 + 1000
}

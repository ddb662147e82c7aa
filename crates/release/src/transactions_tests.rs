//! What the changes make of a stack's items, and when they are refused.

use super::*;
use crate::Value;
use crate::memory::Memory;
use crate::sample::{ME, NOW, OTHER, START, alarm, push, redriven, rollback};
use crate::turn::CLOCKS_MS;
use bluegreen_contract::{GoodRelease, NamedRelease, Purpose, TaskSize};

const RETENTION: Retention = Retention { days: 90 };
const ORDER: &str = "2026-01-01T00:00:00#2026-01-01T00:00:05.000Z";
const LATER: &str = "2026-01-01T00:00:09#2026-01-01T00:00:09.000Z";

fn web() -> TakeTurnInput {
    push(ME, "web", ORDER)
}

fn newer() -> TakeTurnInput {
    push(OTHER, "web", LATER)
}

fn stand(memory: &mut Memory, me: &TakeTurnInput) -> bool {
    let transaction = stand_in_line(&memory.turn(), me);
    memory.write(&transaction)
}

fn takes(memory: &mut Memory, me: &TakeTurnInput) -> bool {
    let record = memory.record(&me.release.record);
    let transaction = take(&memory.turn(), record.as_ref(), me, NOW, RETENTION);
    memory.write(&transaction)
}

fn takes_over(memory: &mut Memory, me: &TakeTurnInput) -> bool {
    let turn = memory.turn();
    let transaction = taking_over(memory, &turn, me);
    memory.write(&transaction)
}

fn taking_over(memory: &Memory, turn: &Turn, me: &TakeTurnInput) -> Transaction {
    let holder = turn.holder.as_ref().unwrap();
    let its_record = memory.record(&holder.record);
    let dead = Dead {
        holder,
        record: its_record.as_ref(),
        status: "ABORTED",
    };
    let record = memory.record(&me.release.record);
    take_over(turn, record.as_ref(), &dead, me, NOW, RETENTION)
}

/// When a call that begins now ends at the latest.
const UNTIL: i64 = NOW + 60_000;
/// When a release ends.
const END: i64 = NOW + 600_000;

fn call(id: &str) -> LambdaCall {
    LambdaCall {
        id: id.to_owned(),
        until: UNTIL,
    }
}

fn beginning(changing: Changing, call: &LambdaCall) -> Beginning<'_> {
    Beginning {
        changing,
        before: None,
        services: None,
        target: None,
        call,
    }
}

fn begins(memory: &mut Memory, me: &TakeTurnInput, changing: Changing) -> bool {
    begins_by("a call", NOW, memory, me, changing).unwrap()
}

/// A call of this id begins at this time.
fn begins_by(
    id: &str,
    now: i64,
    memory: &mut Memory,
    me: &TakeTurnInput,
    changing: Changing,
) -> Result<bool, CallInProgress> {
    let call = call(id);
    let beginning = beginning(changing, &call);
    let begun = begin(&memory.turn(), &me.release, &me.execution, &beginning, now)?;
    Ok(begun.is_some_and(|transaction| memory.write(&transaction)))
}

fn settles(memory: &mut Memory, me: &TakeTurnInput) -> bool {
    begin_settling(&memory.turn(), &me.release, &me.execution, UNTIL)
        .is_some_and(|transaction| memory.write(&transaction))
}

fn serves_now(memory: &mut Memory, me: &TakeTurnInput, what: &Serves<'_>) -> bool {
    let turn = memory.turn();
    let former = turn
        .current
        .as_ref()
        .and_then(|current| memory.record(&current.record));
    serves(
        &turn,
        former.as_ref(),
        &me.release,
        &me.execution,
        what,
        &call("a call"),
        NOW,
    )
    .unwrap()
    .is_some_and(|transaction| memory.write(&transaction))
}

fn ends(memory: &mut Memory, me: &TakeTurnInput, verdict: &str, left_running: bool) -> bool {
    let given = End {
        verdict,
        cause: "because",
        error: None,
        seconds: &Seconds::default(),
        left_running,
    };
    let record = memory.record(&me.release.record);
    end(
        &memory.turn(),
        record.as_ref(),
        &me.release,
        &me.execution,
        &given,
        END,
        RETENTION,
    )
    .unwrap()
    .is_some_and(|transaction| memory.write(&transaction))
}

fn verdict_of(memory: &Memory, me: &TakeTurnInput) -> Option<String> {
    Some(memory.record(&me.release.record)?.verdict)
}

fn services() -> Vec<WantedRevision> {
    vec![WantedRevision {
        cluster: "c".to_owned(),
        service: "web".to_owned(),
        task_definition: "web:1".to_owned(),
    }]
}

fn deployment(services: &[WantedRevision]) -> Serves<'_> {
    Serves::Deployment { services, from: 7 }
}

fn target(of: &TakeTurnInput) -> GoodRelease {
    GoodRelease {
        record: of.release.record.clone(),
        repository: "web".to_owned(),
        tag: None,
        digest: "sha256:1".to_owned(),
        image: "web@sha256:1".to_owned(),
        restores: of.release.record.clone(),
    }
}

mod line {
    use super::*;

    #[test]
    fn the_place_is_taken_only_from_who_was_seen_there() {
        let mut memory = Memory::default();
        let seen = memory.turn();
        assert!(stand(&mut memory, &web()));
        assert!(!memory.write(&stand_in_line(&seen, &newer())));
        assert!(stand(&mut memory, &newer()));
        assert_eq!(memory.turn().waiting.unwrap().execution, OTHER);
    }

    #[test]
    fn who_takes_the_turn_leaves_the_line_and_has_a_record() {
        let mut memory = Memory::default();
        assert!(stand(&mut memory, &web()));
        assert!(takes(&mut memory, &web()));
        let turn = memory.turn();
        assert_eq!(turn.waiting, None);
        let holder = turn.holder.unwrap();
        assert_eq!(holder.execution, ME);
        assert_eq!(holder.digest, web().release.digest);
        assert_eq!(verdict_of(&memory, &web()).as_deref(), Some("inProgress"));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.started_by.as_deref(), Some("push of web:v2"));
        assert_eq!(record.pushed_at, web().release.pushed_at);
        assert_eq!(record.image, None, "it changes nothing yet");
    }

    #[test]
    fn a_turn_that_somebody_has_is_not_taken() {
        let mut memory = Memory::default();
        let free = memory.turn();
        assert!(takes(&mut memory, &web()));
        assert!(!takes(&mut memory, &newer()));
        assert!(!memory.write(&take(&free, None, &newer(), NOW, RETENTION)));
        assert_eq!(verdict_of(&memory, &newer()), None);
    }

    #[test]
    fn only_who_is_next_takes_a_free_turn_or_a_dead_ones() {
        let mut memory = Memory::default();
        let nobody_waits = memory.turn();
        assert!(stand(&mut memory, &newer()));
        let taken = take(&nobody_waits, None, &web(), NOW, RETENTION);
        assert!(!memory.write(&taken));
        assert!(takes(&mut memory, &newer()));
        assert!(stand(&mut memory, &web()));
        let third = push("arn:third", "worker", LATER);
        assert!(!takes_over(&mut memory, &third));
        assert!(takes_over(&mut memory, &web()));
    }

    #[test]
    fn an_alarm_takes_a_free_turn_and_leaves_who_waits_waiting() {
        let mut memory = Memory::default();
        assert!(stand(&mut memory, &web()));
        let fired = alarm(OTHER, LATER);
        assert!(takes(&mut memory, &fired));
        let turn = memory.turn();
        assert_eq!(turn.waiting.unwrap().execution, ME);
        let holder = turn.holder.unwrap();
        assert_eq!((holder.order, holder.waits_for), (None, None));
    }

    #[test]
    fn an_alarm_that_takes_a_dead_ones_turn_has_not_its_place_among_the_releases() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(takes_over(&mut memory, &alarm(OTHER, LATER)));
        let holder = memory.turn().holder.unwrap();
        assert_eq!((holder.order, holder.waits_for), (None, None));
    }
}

mod abandoned {
    use super::*;

    #[test]
    fn a_turn_is_taken_over_only_as_it_was_when_its_holder_was_seen_dead() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        let seen = memory.turn();
        let again = redriven(web(), 1);
        let retaken = retake(seen.holder.as_ref().unwrap(), &again, NOW + 1);
        assert!(memory.write(&retaken));
        let late = taking_over(&memory, &seen, &newer());
        assert!(!memory.write(&late));
        assert_eq!(memory.turn().holder.unwrap().redrives, 1);
    }

    #[test]
    fn a_turn_is_not_taken_over_from_who_has_begun_to_change_something_since() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        let seen = memory.turn();
        assert!(begins(&mut memory, &web(), Changing::Migration));
        let late = taking_over(&memory, &seen, &newer());
        assert!(!memory.write(&late));
    }

    #[test]
    fn who_takes_over_waits_for_what_the_dead_one_left_and_closes_its_record() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert_eq!(memory.turn().unsettled.as_deref(), Some(ME));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "abandoned");
        assert_eq!(
            record.cause.unwrap(),
            format!(
                "The execution {ME} ended as ABORTED before the verdict of its release was recorded."
            )
        );
        assert!(record.finished_at.is_some());
        assert_eq!(verdict_of(&memory, &newer()).as_deref(), Some("inProgress"));
    }

    /// The turn of a release of the machine that wrote a record only when it had been planned.
    fn without_record(me: &TakeTurnInput) -> Memory {
        let mut memory = Memory::default();
        let mut transaction = take(&Turn::default(), None, me, NOW, RETENTION);
        transaction.changes.truncate(1);
        assert!(memory.write(&transaction));
        assert!(stand(&mut memory, &newer()));
        memory
    }

    #[test]
    fn a_push_that_had_no_record_yet_is_known_from_now_on() {
        let mut memory = without_record(&web());
        assert!(takes_over(&mut memory, &newer()));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "abandoned");
        assert_eq!(record.digest, web().release.digest);
        assert_eq!(record.execution.as_deref(), Some(ME));
        assert_eq!(record.started_at.as_deref(), Some(START));
        assert_eq!(record.image, None);
    }

    #[test]
    fn a_rollback_that_had_no_record_yet_gets_none() {
        let asked = rollback(ME, ORDER);
        let mut memory = without_record(&asked);
        assert!(takes_over(&mut memory, &newer()));
        assert_eq!(verdict_of(&memory, &asked), None);
    }

    #[test]
    fn one_that_the_stacks_item_calls_current_had_succeeded() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        let closed = memory.record(&web().release.record).unwrap();
        assert!(takes_over(&mut memory, &newer()));
        assert_eq!(memory.record(&web().release.record).unwrap(), closed);
        assert_eq!(closed.verdict, "succeeded");
    }

    #[test]
    fn one_whose_verdict_was_not_written_when_it_was_current_already_had_succeeded() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let mut served = serves(
            &memory.turn(),
            None,
            &web().release,
            &web().execution,
            &deployment(&services()),
            &call("a call"),
            NOW,
        )
        .unwrap()
        .unwrap();
        served.changes.truncate(1);
        assert!(memory.write(&served));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "succeeded");
        assert!(record.cause.unwrap().contains("in service and healthy"));
    }
}

mod redrives {
    use super::*;

    #[test]
    fn only_the_try_that_has_the_turn_begins_to_change_something() {
        let mut memory = Memory::default();
        assert!(!begins(&mut memory, &web(), Changing::Services));
        assert!(takes(&mut memory, &web()));
        assert!(!begins(&mut memory, &newer(), Changing::Services));
        assert!(!begins(
            &mut memory,
            &redriven(web(), 1),
            Changing::Services
        ));
        assert!(begins(&mut memory, &web(), Changing::Services));
        assert!(begins(&mut memory, &web(), Changing::Services), "again");
    }

    #[test]
    fn a_late_call_of_an_earlier_try_begins_nothing_and_gives_nothing_back() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let again = redriven(web(), 1);
        let holder = memory.turn().holder.unwrap();
        assert!(memory.write(&retake(&holder, &again, NOW)));
        assert_eq!(memory.turn().unsettled.as_deref(), Some(ME));
        assert!(!begins(&mut memory, &web(), Changing::Services));
        assert!(!ends(&mut memory, &web(), "failed", false));
        assert!(begins(&mut memory, &again, Changing::Services));
        assert!(ends(&mut memory, &again, "failed", false));
    }

    #[test]
    fn a_redriven_one_gives_back_what_its_earlier_try_took() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(ends(&mut memory, &redriven(web(), 1), "failed", false));
        assert_eq!(memory.turn().holder, None);
    }

    #[test]
    fn the_first_try_that_touched_services_is_remembered_and_none_that_registered_revisions() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let touched = |memory: &Memory| memory.record(&web().release.record).unwrap().touched;
        assert!(begins(&mut memory, &web(), Changing::Migration));
        assert_eq!(touched(&memory), None);
        assert!(begins(&mut memory, &web(), Changing::Services));
        assert_eq!(touched(&memory), None);
        assert!(names(&mut memory, &web(), &services()));
        assert_eq!(touched(&memory), Some(0));
        let again = redriven(web(), 1);
        let holder = memory.turn().holder.unwrap();
        assert!(memory.write(&retake(&holder, &again, NOW)));
        assert!(begins(&mut memory, &again, Changing::Rollback));
        assert_eq!(touched(&memory), Some(0));
    }

    /// Step Functions has lost its connection to a call and gone on without it.
    #[test]
    fn a_call_that_came_late_brings_nothing_forward_once_its_try_goes_back() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Services));
        let (late, seen) = (call("a late call"), memory.turn());
        let services = beginning(Changing::Services, &late);
        assert!(memory.write(&finish("shop", "a call")));
        let seen_before = begin(
            &memory.turn(),
            &web().release,
            &web().execution,
            &services,
            NOW,
        );
        assert!(begins(&mut memory, &web(), Changing::Rollback));
        assert!(memory.write(&finish("shop", "a call")));
        assert_ne!(memory.turn(), seen);

        assert!(
            !memory.write(&seen_before.unwrap().unwrap()),
            "it has read of before"
        );
        for forward in [Changing::Services, Changing::Migration] {
            assert!(!begins(&mut memory, &web(), forward), "{forward:?}");
        }
        assert!(begins(&mut memory, &web(), Changing::Rollback), "again");
        assert!(begins(&mut memory, &web(), Changing::Revisions));
        assert!(memory.write(&finish("shop", "a call")));

        // A later try plans anew, and so does the next release.
        let redriven = redriven(web(), 1);
        let holder = memory.turn().holder.unwrap();
        assert!(memory.write(&retake(&holder, &redriven, NOW)));
        assert!(begins(&mut memory, &redriven, Changing::Services));
        assert!(begins(&mut memory, &redriven, Changing::Rollback));
        assert!(takes_over(&mut memory, &newer()));
        assert!(begins(&mut memory, &newer(), Changing::Services));
        assert!(begins(&mut memory, &newer(), Changing::Rollback));
        assert!(memory.write(&finish("shop", "a call")));
        assert!(ends(&mut memory, &newer(), "rolledBack", false));
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Services));
    }

    #[test]
    fn a_rollback_touches_services() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Rollback));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.touched, Some(0));
    }

    fn command() -> Command {
        Command {
            purpose: Purpose::Migration,
            cluster: "c".to_owned(),
            service: "web".to_owned(),
            task_definition: "web:7".to_owned(),
            container: "app".to_owned(),
            command: vec!["migrate".to_owned()],
            line: vec!["tini".to_owned(), "migrate".to_owned()],
            size: TaskSize::default(),
            timeout_seconds: 60,
        }
    }

    /// The migration has exited 0, or was left out for that of another release.
    fn migrates(memory: &mut Memory, me: &TakeTurnInput, same_as: Option<&str>) -> bool {
        let migrations = Migrations {
            fingerprint: "0a1b".to_owned(),
            same_as: same_as.map(str::to_owned),
        };
        let command = command();
        let ran = same_as.is_none().then_some(&command);
        let turn = memory.turn();
        migrated(&turn, &me.release, &me.execution, &migrations, ran)
            .is_some_and(|transaction| memory.write(&transaction))
    }

    fn noted(memory: &Memory) -> (Option<String>, Option<String>) {
        let record = memory.record(&web().release.record).unwrap();
        (record.migrations, record.migrations_of)
    }

    #[test]
    fn what_a_migration_has_done_is_known_from_its_exit_on_until_another_one_begins() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Migration));
        assert_eq!(
            (memory.turn().migrated, noted(&memory)),
            (None, (None, None))
        );
        assert!(migrates(&mut memory, &web(), None));
        let known = memory.turn().migrated.unwrap();
        assert!(known.is_by("web", "0a1b", &command()));
        assert_eq!(known.release, "me");
        assert_eq!(noted(&memory), (Some("0a1b".to_owned()), None));

        // Neither a deployment that fails nor a rollback undoes a migration.
        assert!(begins(&mut memory, &web(), Changing::Services));
        assert!(begins(&mut memory, &web(), Changing::Rollback));
        assert!(ends(&mut memory, &web(), "rolledBack", false));
        assert_eq!(memory.turn().migrated, Some(known));

        assert!(takes(&mut memory, &newer()));
        assert!(begins(&mut memory, &newer(), Changing::PostDeploy));
        assert!(memory.turn().migrated.is_some());
        assert!(begins(&mut memory, &newer(), Changing::Migration));
        assert_eq!(memory.turn().migrated, None);
    }

    #[test]
    fn a_migration_that_is_left_out_is_in_the_record_and_stays_the_other_releases() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &newer()));
        assert!(migrates(&mut memory, &newer(), None));
        assert!(ends(&mut memory, &newer(), "succeeded", false));
        assert!(takes(&mut memory, &web()));
        assert!(migrates(&mut memory, &web(), Some("other")));
        let fingerprint = Some("0a1b".to_owned());
        assert_eq!(noted(&memory), (fingerprint, Some("other".to_owned())));
        assert_eq!(memory.turn().migrated.unwrap().release, "other");
    }

    #[test]
    fn a_redriven_release_has_left_out_what_its_earlier_try_has_run() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(!migrates(&mut memory, &web(), Some("me")), "nobody has");
        assert!(migrates(&mut memory, &web(), None));
        assert!(migrates(&mut memory, &web(), Some("me")));
        assert_eq!(noted(&memory), (Some("0a1b".to_owned()), None));
    }

    #[test]
    fn who_has_not_the_turn_notes_no_migration() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(!migrates(&mut memory, &newer(), None));
        assert!(!migrates(&mut memory, &redriven(web(), 1), None));
        assert_eq!(memory.turn().migrated, None);
    }

    /// The revisions of the services are known.
    fn names(memory: &mut Memory, me: &TakeTurnInput, services: &[WantedRevision]) -> bool {
        let call = call("a call");
        let known = Beginning {
            services: Some(services),
            ..beginning(Changing::Services, &call)
        };
        let begun = begin(&memory.turn(), &me.release, &me.execution, &known, NOW);
        memory.write(&begun.unwrap().unwrap())
    }

    #[test]
    fn what_was_written_and_is_not_known_again_stays() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let revisions = services();
        assert!(names(&mut memory, &web(), &revisions));
        assert!(begins(&mut memory, &web(), Changing::Services));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.services, revisions);
        assert_eq!(record.image, web().release.image);
    }

    #[test]
    fn of_two_calls_the_one_that_may_last_longer_counts() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Migration));
        let shorter = LambdaCall {
            until: NOW,
            ..call("a call")
        };
        let second = beginning(Changing::Migration, &shorter);
        let second = begin(
            &memory.turn(),
            &web().release,
            &web().execution,
            &second,
            NOW,
        );
        assert!(memory.write(&second.unwrap().unwrap()));
        let holder = memory.turn().holder.unwrap();
        assert_eq!(holder.changing_until, Some(UNTIL));
    }

    #[test]
    fn of_one_try_one_call_changes_something_at_a_time() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let services = Changing::Services;
        let first = begins_by("first", NOW, &mut memory, &web(), services);
        assert_eq!(first, Ok(true));
        let second = begins_by("second", UNTIL, &mut memory, &web(), services);
        let until = UNTIL + CLOCKS_MS;
        let in_progress = second.unwrap_err();
        assert_eq!(in_progress.until, until);
        assert_eq!(in_progress.execution, ME);
        let late = serves(
            &memory.turn(),
            None,
            &web().release,
            &web().execution,
            &Serves::Same,
            &call("second"),
            UNTIL,
        );
        assert_eq!(late, Err(in_progress));
        let again = begins_by("first", UNTIL, &mut memory, &web(), services);
        assert_eq!(again, Ok(true), "it is its own");
        let second = begins_by("second", until, &mut memory, &web(), services);
        assert_eq!(second, Ok(true), "the first is over");
        let first = begins_by("first", NOW, &mut memory, &web(), services);
        assert!(first.is_err());
    }

    #[test]
    fn a_call_begins_nothing_where_another_one_has_begun_since_it_looked() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let call = call("second");
        let second = beginning(Changing::Services, &call);
        let late = begin(
            &memory.turn(),
            &web().release,
            &web().execution,
            &second,
            NOW,
        );
        assert!(begins(&mut memory, &web(), Changing::Services));
        assert!(!memory.write(&late.unwrap().unwrap()));
    }

    #[test]
    fn a_call_that_has_finished_is_waited_for_by_nobody() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let rollback = Changing::Rollback;
        let first = begins_by("first", NOW, &mut memory, &web(), rollback);
        assert_eq!(first, Ok(true));
        assert!(memory.write(&finish("shop", "first")));
        let holder = memory.turn().holder.unwrap();
        assert_eq!((holder.changing_by, holder.changing_until), (None, None));
        let second = begins_by("second", NOW, &mut memory, &web(), rollback);
        assert_eq!(second, Ok(true));
        assert!(
            !memory.write(&finish("shop", "first")),
            "it is the second's"
        );
        let holder = memory.turn().holder.unwrap();
        assert_eq!(holder.changing_by.as_deref(), Some("second"));
    }

    #[test]
    fn nothing_is_left_of_a_call_where_the_turn_changes_hands() {
        let is_free_of_calls = |memory: &Memory| {
            let names = ["changingBy", "changingUntil"];
            names.iter().all(|name| !memory.has("turn", name))
        };
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Services));
        let again = redriven(web(), 1);
        let holder = memory.turn().holder.unwrap();
        assert!(memory.write(&retake(&holder, &again, NOW)));
        assert!(is_free_of_calls(&memory), "retaken");

        assert!(begins(&mut memory, &again, Changing::Services));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(is_free_of_calls(&memory), "taken over");

        assert!(begins(&mut memory, &newer(), Changing::Services));
        assert!(ends(&mut memory, &newer(), "failed", false));
        assert!(is_free_of_calls(&memory), "given back");
    }

    #[test]
    fn calls_that_settle_what_was_left_do_not_wait_for_one_another() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(settles(&mut memory, &newer()));
        assert!(settles(&mut memory, &newer()));
        let holder = memory.turn().holder.unwrap();
        assert_eq!(holder.changing_until, Some(UNTIL));
        assert_eq!(holder.changing_by, None);
        assert!(begins(&mut memory, &newer(), Changing::Migration));
    }

    #[test]
    fn a_late_look_stops_nothing_once_what_was_left_has_come_to_its_end() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(settles(&mut memory, &newer()));
        let (stack, execution) = (&newer().release.stack, &newer().execution);
        let settled = settled(&memory.turn(), stack, execution).unwrap();
        assert!(memory.write(&settled));
        let late = begin_settling(&memory.turn(), &newer().release, execution, UNTIL);
        assert_eq!(late, None);
    }

    #[test]
    fn one_whose_turn_was_taken_over_begins_its_record_anew_when_it_is_its_turn_again() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(ends(&mut memory, &newer(), "failed", false));
        let again = redriven(web(), 1);
        assert!(takes(&mut memory, &again));
        let record = memory.record(&again.release.record).unwrap();
        assert_eq!(record.verdict, "inProgress");
        assert_eq!((record.cause, record.finished_at), (None, None));
    }

    #[test]
    fn one_that_is_in_service_stays_so_whatever_comes_of_a_later_try() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(ends(&mut memory, &newer(), "failed", false));
        let again = redriven(web(), 1);
        assert!(takes(&mut memory, &again));
        assert!(ends(&mut memory, &again, "stale", false));
        assert_eq!(verdict_of(&memory, &again).as_deref(), Some("succeeded"));
        assert_eq!(memory.turn().holder, None);
    }
}

mod before {
    use super::*;

    fn planned(revision: &str) -> Vec<PlannedService> {
        vec![PlannedService {
            cluster: "c".to_owned(),
            service: "web".to_owned(),
            task_definition: revision.to_owned(),
            containers: vec!["web".to_owned()],
        }]
    }

    fn begins_from(memory: &mut Memory, me: &TakeTurnInput, changing: Changing, before: &str) {
        let me = TakeTurnInput {
            release: Release {
                images_before: vec![format!("image of {before}")],
                ..me.release.clone()
            },
            ..me.clone()
        };
        let (call, before, services) = (call("a call"), planned(before), services());
        let touches = changing == Changing::Services;
        let beginning = Beginning {
            before: Some(&before),
            services: touches.then_some(services.as_slice()),
            ..beginning(changing, &call)
        };
        let begun = begin(&memory.turn(), &me.release, &me.execution, &beginning, NOW).unwrap();
        assert!(memory.write(&begun.unwrap()));
    }

    fn assert_before(memory: &Memory, revision: &str) {
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.before, planned(revision));
        assert_eq!(record.images_before, [format!("image of {revision}")]);
    }

    /// A rollback of the first release goes there: a later try of it sees its own image.
    #[test]
    fn what_ran_before_a_release_stays_once_it_has_touched_a_service() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        begins_from(&mut memory, &web(), Changing::Migration, "web:1");
        begins_from(&mut memory, &web(), Changing::Services, "web:1");
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(ends(&mut memory, &newer(), "failed", false));
        let again = redriven(web(), 1);
        assert!(takes(&mut memory, &again));
        begins_from(&mut memory, &again, Changing::Services, "web:2");
        assert_before(&memory, "web:1");
    }

    #[test]
    fn it_is_seen_anew_where_another_release_came_between() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        begins_from(&mut memory, &web(), Changing::Migration, "web:1");
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(ends(&mut memory, &newer(), "succeeded", false));
        let again = redriven(web(), 1);
        assert!(takes(&mut memory, &again));
        begins_from(&mut memory, &again, Changing::Services, "web:2");
        assert_before(&memory, "web:2");
    }
}

mod serving {
    use super::*;

    #[test]
    fn a_release_that_succeeded_is_the_current_one() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        let turn = memory.turn();
        assert_eq!(turn.deployed("web"), Some(ORDER));
        assert_eq!(turn.verified("web"), web().release.digest.as_deref());
        let current = turn.current.unwrap();
        assert_eq!(current.record, web().release.record);
        assert_eq!((current.from, current.finished), (7, NOW));
        assert_eq!(turn.rolled_back_at, None);
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "succeeded");
        assert_eq!(record.services, services());
    }

    #[test]
    fn a_forced_release_moves_the_order_of_pushes_not_back() {
        let mut memory = Memory::default();
        let newest = newer();
        assert!(takes(&mut memory, &newest));
        assert!(serves_now(&mut memory, &newest, &deployment(&services())));
        assert!(ends(&mut memory, &newest, "succeeded", false));
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert_eq!(memory.turn().deployed("web"), Some(LATER));
        assert_eq!(
            memory.turn().verified("web"),
            web().release.digest.as_deref()
        );
    }

    #[test]
    fn a_rollback_brings_an_image_back_and_moves_the_order_of_pushes_not_back() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(ends(&mut memory, &web(), "succeeded", false));
        let asked = rollback(OTHER, LATER);
        assert!(takes(&mut memory, &asked));
        let mut earlier = target(&web());
        earlier.record = "release#0#earlier".to_owned();
        let back = Serves::Rollback {
            target: Goal::Release(&earlier),
            services: &services(),
            from: 9,
        };
        assert!(serves_now(&mut memory, &asked, &back));
        assert!(serves_now(&mut memory, &asked, &back), "again");
        let turn = memory.turn();
        assert_eq!(turn.deployed("web"), Some(ORDER));
        assert_eq!(turn.verified("web"), Some("sha256:1"));
        assert_eq!(turn.rolled_back_at, Some(NOW));
        let current = turn.current.unwrap();
        assert_eq!(current.action, RequestedAction::Rollback);
        assert_eq!(current.record, asked.release.record);
        let record = memory.record(&asked.release.record).unwrap();
        assert_eq!(record.verdict, "succeeded");
        assert_eq!(record.image.as_deref(), Some("web@sha256:1"));
        assert_eq!(record.restores.as_deref(), Some(earlier.restores.as_str()));
        let former = memory.record(&web().release.record).unwrap();
        assert_eq!(former.verdict, "rolledBack");
        assert_eq!(
            former.cause.as_deref(),
            Some("It was taken back by a person (other).\nbecause")
        );
        assert_eq!(former.rolled_back_by, Some(asked.release.record));
    }

    /// Of a service that was there before the pipeline.
    #[test]
    fn a_rollback_to_what_ran_before_the_first_release_vouches_for_no_image() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(ends(&mut memory, &web(), "succeeded", false));
        let asked = alarm(OTHER, LATER);
        assert!(takes(&mut memory, &asked));
        let first = NamedRelease {
            record: web().release.record,
            repository: "web".to_owned(),
            tag: Some("v2".to_owned()),
            digest: web().release.digest,
        };
        // An earlier try was about to bring a release back.
        let earlier = target(&web());
        for goal in [Goal::Release(&earlier), Goal::Before(&first)] {
            let call = call("a call");
            let begins = Beginning {
                target: Some(goal),
                services: Some(&services()),
                ..beginning(Changing::Rollback, &call)
            };
            let (release, execution) = (&asked.release, &asked.execution);
            let begun = begin(&memory.turn(), release, execution, &begins, NOW).unwrap();
            assert!(memory.write(&begun.unwrap()));
        }
        let back = Serves::Rollback {
            target: Goal::Before(&first),
            services: &services(),
            from: 9,
        };
        assert!(serves_now(&mut memory, &asked, &back));
        assert!(serves_now(&mut memory, &asked, &back), "again");

        let turn = memory.turn();
        assert_eq!(
            (turn.verified("web"), turn.deployed("web")),
            (None, Some(ORDER))
        );
        assert_eq!(turn.current.unwrap().record, asked.release.record);
        let record = memory.record(&asked.release.record).unwrap();
        assert_eq!(record.verdict, "succeeded");
        assert_eq!(record.repository.as_deref(), Some("web"));
        assert_eq!(record.restores_before, Some(web().release.record));
        assert_eq!(
            (record.restores, record.image, record.digest, record.tag),
            (None, None, None, None)
        );
        assert_eq!(record.services, services());
        let former = memory.record(&web().release.record).unwrap();
        assert_eq!(former.verdict, "rolledBack");
        assert_eq!(
            former.cause.as_deref(),
            Some("It was taken back by the alarm errors (other).\nbecause")
        );
    }

    #[test]
    fn the_release_that_a_rollback_brings_back_stays_a_good_one() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(ends(&mut memory, &web(), "succeeded", false));
        let asked = rollback(OTHER, LATER);
        assert!(takes(&mut memory, &asked));
        let back = Serves::Rollback {
            target: Goal::Release(&target(&web())),
            services: &services(),
            from: 9,
        };
        assert!(serves_now(&mut memory, &asked, &back));
        assert_eq!(verdict_of(&memory, &web()).as_deref(), Some("succeeded"));
    }

    #[test]
    fn a_release_of_another_repository_is_not_taken_back() {
        let mut memory = Memory::default();
        let worker = push(ME, "worker", ORDER);
        assert!(takes(&mut memory, &worker));
        assert!(serves_now(&mut memory, &worker, &deployment(&services())));
        assert!(ends(&mut memory, &worker, "succeeded", false));
        let asked = rollback(OTHER, LATER);
        assert!(takes(&mut memory, &asked));
        let mut earlier = target(&web());
        earlier.record = "release#0#earlier".to_owned();
        let back = Serves::Rollback {
            target: Goal::Release(&earlier),
            services: &services(),
            from: 9,
        };
        assert!(serves_now(&mut memory, &asked, &back));
        assert_eq!(verdict_of(&memory, &worker).as_deref(), Some("succeeded"));
    }

    #[test]
    fn of_a_release_that_failed_and_was_taken_back_only_that_is_told() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let before = Serves::Before {
            services: &services(),
        };
        assert!(serves_now(&mut memory, &web(), &before));
        let turn = memory.turn();
        assert_eq!(turn.rolled_back_at, Some(NOW));
        assert_eq!((turn.deployed("web"), turn.verified("web")), (None, None));
        assert_eq!(turn.current, None);
        assert_eq!(verdict_of(&memory, &web()).as_deref(), Some("inProgress"));
    }

    #[test]
    fn an_image_that_served_already_counts_as_deployed() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &Serves::Same));
        let turn = memory.turn();
        assert_eq!(turn.deployed("web"), Some(ORDER));
        assert_eq!((turn.verified("web"), turn.current.as_ref()), (None, None));
    }

    #[test]
    fn who_has_not_the_turn_tells_nothing() {
        let mut memory = Memory::default();
        assert!(!serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(takes(&mut memory, &web()));
        let again = redriven(web(), 1);
        assert!(!serves_now(&mut memory, &again, &deployment(&services())));
        let note = |me: &TakeTurnInput| {
            started_migration(&memory.turn(), &me.release, &me.execution, "task", &[]).is_some()
        };
        assert!(note(&web()));
        assert!(!note(&again));
    }

    /// The turn is read first: what is decided on it may be late.
    #[test]
    fn a_note_does_not_stand_where_the_turn_was_taken_over_since_it_was_read() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let turn = memory.turn();
        assert!(takes_over(&mut memory, &newer()));
        let (release, execution) = (web().release, web().execution);
        let (stack, record) = (&release.stack, &release.record);
        let migration = started_migration(&turn, &release, &execution, "task", &[]);
        let pause = awaits(&turn, stack, record, &execution, Some("You."), NOW);
        for late in [migration, pause] {
            assert!(!memory.write(&late.unwrap()));
        }
    }

    /// A pause may last for days, and a person has to know what to do
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html>).
    #[test]
    fn what_a_deployment_waits_for_stands_in_the_record_until_it_goes_on_or_ends() {
        let note = |memory: &mut Memory, me: &TakeTurnInput, awaits_: Option<&str>| {
            let release = &me.release;
            let (stack, record) = (&release.stack, &release.record);
            let turn = memory.turn();
            let noted = awaits(&turn, stack, record, &me.execution, awaits_, NOW);
            noted.is_some_and(|noted| memory.write(&noted))
        };
        let told = |memory: &Memory| {
            let record = memory.record(&web().release.record).unwrap();
            (record.awaits, record.resumed_at)
        };
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(!note(&mut memory, &newer(), Some("You.")));
        assert!(note(&mut memory, &web(), Some("You.")));
        assert_eq!(told(&memory), (Some("You.".to_owned()), None));
        assert!(note(&mut memory, &web(), None));
        assert_eq!(told(&memory), (None, Some(NOW)));

        assert!(note(&mut memory, &web(), Some("You.")));
        assert!(begins(&mut memory, &web(), Changing::Rollback));
        assert_eq!(told(&memory).0, None);

        assert!(note(&mut memory, &web(), Some("You.")));
        assert!(ends(&mut memory, &web(), "failed", false));
        assert_eq!(told(&memory).0, None);
    }

    #[test]
    fn what_was_left_behind_is_settled_by_who_has_the_turn() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &newer()));
        assert!(stand(&mut memory, &web()));
        assert!(takes_over(&mut memory, &web()));
        let at_rest = |me: &TakeTurnInput| settled(&memory.turn(), "shop", &me.execution);
        assert_eq!(at_rest(&newer()), None);
        let transaction = at_rest(&web()).unwrap();
        assert!(memory.write(&transaction));
        assert_eq!(memory.turn().unsettled, None);
    }
}

mod ending {
    use super::*;

    #[test]
    fn the_turn_is_given_back_and_the_record_closed_together() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Services));
        assert!(ends(&mut memory, &web(), "failed", false));
        let turn = memory.turn();
        assert_eq!((turn.holder, turn.unsettled), (None, None));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "failed");
        assert_eq!(record.cause.as_deref(), Some("because"));
        assert!(record.finished_at.is_some());
        assert!(
            !ends(&mut memory, &web(), "failed", false),
            "once is enough"
        );
    }

    #[test]
    fn the_turn_is_not_given_back_while_a_call_that_came_late_changes_something() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(begins(&mut memory, &web(), Changing::Services));
        let given = End {
            verdict: "failed",
            cause: "because",
            error: None,
            seconds: &Seconds::default(),
            left_running: false,
        };
        let (release, execution) = (&web().release, &web().execution);
        let ended = |now| {
            end(
                &memory.turn(),
                None,
                release,
                execution,
                &given,
                now,
                RETENTION,
            )
        };
        let in_progress = CallInProgress {
            execution: ME.to_owned(),
            stack: "shop".to_owned(),
            until: UNTIL + CLOCKS_MS,
        };
        assert_eq!(ended(UNTIL), Err(in_progress));
        assert!(ended(UNTIL + CLOCKS_MS).unwrap().is_some());
    }

    #[test]
    fn what_was_left_in_progress_is_noted_for_the_next_release() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(ends(&mut memory, &web(), "failed", true));
        assert_eq!(memory.turn().unsettled.as_deref(), Some(ME));
    }

    #[test]
    fn what_an_earlier_release_left_stays_noted_until_it_is_settled() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &newer()));
        assert!(stand(&mut memory, &web()));
        assert!(takes_over(&mut memory, &web()));
        assert!(ends(&mut memory, &web(), "failed", false));
        assert_eq!(memory.turn().unsettled.as_deref(), Some(OTHER));
    }

    #[test]
    fn who_was_superseded_in_line_leaves_a_record_and_not_its_place() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &newer()));
        assert!(stand(&mut memory, &web()));
        assert!(ends(&mut memory, &web(), "superseded", false));
        let turn = memory.turn();
        assert_eq!(turn.waiting, None);
        assert_eq!(turn.holder.unwrap().execution, OTHER);
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "superseded");
        assert_eq!(record.digest, web().release.digest);
        assert_eq!(record.image, None);
    }

    #[test]
    fn a_record_that_was_closed_by_who_took_the_turn_over_stays_as_it_is() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(stand(&mut memory, &newer()));
        assert!(takes_over(&mut memory, &newer()));
        assert!(!ends(&mut memory, &web(), "failed", false));
        assert_eq!(verdict_of(&memory, &web()).as_deref(), Some("abandoned"));
    }

    #[test]
    fn words_are_added_to_a_release_that_is_in_service() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(ends(&mut memory, &web(), "succeeded", false));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.cause.as_deref(), Some("because"));
    }

    /// Its first try was aborted after that.
    #[test]
    fn a_redriven_release_that_finds_its_image_in_service_has_succeeded() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        let again = redriven(web(), 1);
        let holder = memory.turn().holder.unwrap();
        assert!(memory.write(&retake(&holder, &again, NOW)));
        assert!(ends(&mut memory, &again, "nothingToDeploy", false));
        let record = memory.record(&web().release.record).unwrap();
        assert_eq!(record.verdict, "succeeded");
        assert_eq!(record.cause.as_deref(), Some("because"));
    }

    #[test]
    fn an_alarm_that_was_no_reason_leaves_no_record() {
        let mut memory = Memory::default();
        let fired = alarm(ME, ORDER);
        assert!(takes(&mut memory, &fired));
        assert!(ends(&mut memory, &fired, "nothingToRollBack", false));
        assert_eq!(memory.turn().holder, None);
        assert_eq!(verdict_of(&memory, &fired), None);
    }

    #[test]
    fn a_contract_command_that_did_not_run_leaves_no_record() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(ends(&mut memory, &web(), "nothingToContract", false));
        assert_eq!(memory.turn().holder, None);
        assert_eq!(verdict_of(&memory, &web()), None);
    }

    #[test]
    fn a_record_is_kept_as_long_as_it_is_to_be() {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        let transaction = take(&Turn::default(), None, &web(), NOW, RETENTION);
        let Effect::Update(attributes) = &transaction.changes[1].effect else {
            panic!("a new record is written");
        };
        let expiry = NOW / 1000 + 90 * 86_400;
        assert_eq!(attributes.first["expiresAt"], Value::Number(expiry));
    }
}

mod contracts {
    use super::*;

    /// The command of `web`.
    fn contract() -> TakeTurnInput {
        let mut asked = push(OTHER, "web", "0#");
        asked.release.action = RequestedAction::Contract;
        asked.release.contracts = Some(web().release.record);
        asked
    }

    fn is_due(memory: &mut Memory, me: &TakeTurnInput, at: i64) -> bool {
        contract_due(&memory.turn(), &me.release, &me.execution, at)
            .is_some_and(|transaction| memory.write(&transaction))
    }

    fn due(memory: &Memory, repository: &str) -> Option<(String, i64)> {
        let turn = memory.turn();
        let due = turn.contracts_due().get(repository)?;
        Some((due.release.clone(), due.at))
    }

    /// A release serves, and its contract command is due at some time.
    fn serving() -> Memory {
        let mut memory = Memory::default();
        assert!(takes(&mut memory, &web()));
        assert!(serves_now(&mut memory, &web(), &deployment(&services())));
        assert!(is_due(&mut memory, &web(), 9));
        assert!(ends(&mut memory, &web(), "succeeded", false));
        memory
    }

    #[test]
    fn are_due_by_repository_and_only_of_who_has_the_turn() {
        let mut memory = serving();
        assert_eq!(due(&memory, "web"), Some((web().release.record, 9)));
        assert_eq!(due(&memory, "worker"), None);
        assert!(!is_due(&mut memory, &web(), 11), "it has ended");
        assert_eq!(due(&memory, "web"), Some((web().release.record, 9)));
    }

    #[test]
    fn are_due_no_more_when_another_release_of_the_repository_serves() {
        let mut memory = serving();
        let other = push(OTHER, "worker", LATER);
        assert!(takes(&mut memory, &other));
        assert!(serves_now(&mut memory, &other, &deployment(&services())));
        assert!(ends(&mut memory, &other, "succeeded", false));
        assert!(due(&memory, "web").is_some());

        assert!(takes(&mut memory, &newer()));
        assert!(begins(&mut memory, &newer(), Changing::Services));
        let before = Serves::Before {
            services: &services(),
        };
        assert!(serves_now(&mut memory, &newer(), &before));
        assert!(due(&memory, "web").is_some(), "what ran before runs on");
        assert!(serves_now(&mut memory, &newer(), &deployment(&services())));
        assert_eq!(due(&memory, "web"), None);
    }

    #[test]
    fn are_due_no_more_after_a_rollback() {
        let mut memory = serving();
        let asked = rollback(OTHER, LATER);
        assert!(takes(&mut memory, &asked));
        let back = Serves::Rollback {
            target: Goal::Release(&target(&web())),
            services: &services(),
            from: 9,
        };
        assert!(serves_now(&mut memory, &asked, &back));
        assert_eq!(due(&memory, "web"), None);
    }

    #[test]
    fn are_due_no_more_after_a_rollback_that_failed_but_after_an_alarm_that_was_no_reason() {
        let mut memory = serving();
        let fired = alarm(OTHER, ORDER);
        assert!(takes(&mut memory, &fired));
        assert!(ends(&mut memory, &fired, "nothingToRollBack", false));
        assert!(due(&memory, "web").is_some());
        assert!(takes(&mut memory, &fired));
        assert!(ends(&mut memory, &fired, "failed", false));
        assert_eq!(due(&memory, "web"), None);
    }

    #[test]
    fn are_due_no_more_once_they_may_have_run() {
        let mut memory = serving();
        let contract = contract();
        assert!(takes(&mut memory, &contract));
        assert!(begins(&mut memory, &contract, Changing::Contract));
        assert_eq!(due(&memory, "web"), None);
        let turn = memory.turn();
        let contracted = turn.contracted("web").unwrap();
        assert_eq!(contracted.release, web().release.record);
        assert_eq!(contracted.by, contract.release.record);
        let record = memory.record(&contract.release.record).unwrap();
        assert_eq!(record.action, RequestedAction::Contract);
        assert_eq!(record.contracts, Some(web().release.record));
        assert_eq!(record.touched, None);
        assert!(ends(&mut memory, &contract, "failed", false));
        assert!(memory.turn().contracted("web").is_some());
    }

    #[test]
    fn run_only_in_the_turn() {
        let mut memory = serving();
        assert!(!begins(&mut memory, &contract(), Changing::Contract));
        assert!(due(&memory, "web").is_some());
    }
}

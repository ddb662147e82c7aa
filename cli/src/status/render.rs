//! The status of a stack as a tree.

use bluegreen_contract::RequestedAction;
use bluegreen_release::verdict;
use jiff::Timestamp;

use super::{Alarm, Past, Release, Revision, Service, Status, Waiting};
use crate::exit::Exit;
use crate::history::Step;
use crate::tree::{Node, Tone};

/// The tree, with all seconds as they are at the status's moment.
#[must_use]
pub fn tree(status: &Status) -> Node {
    let release = status.release.as_ref().map(|it| release(it, status.at));
    let services = (!status.services.is_empty())
        .then(|| Node::new("services").with(status.services.iter().map(service)));
    let all = [
        release,
        services,
        alarms(&status.alarms),
        status.waiting.as_ref().map(|it| waiting(it, status.at)),
        last(status),
    ];
    headline(status).with(all.into_iter().flatten())
}

fn headline(status: &Status) -> Node {
    let name = Node::default().and(Tone::Strong, &status.stack);
    let running = status.release.as_ref().filter(|it| it.ended.is_none());
    if let Some(release) = running {
        let what = match (release.action, &release.version) {
            (RequestedAction::Deploy, Some(version)) => format!("{version} is being released"),
            (RequestedAction::Deploy, None) => "a release is in progress".to_owned(),
            (RequestedAction::Rollback, _) => "a rollback is in progress".to_owned(),
            (RequestedAction::Contract, _) => "the contract command is in progress".to_owned(),
        };
        return name.and(Tone::Plain, ": ").and(Tone::Busy, what);
    }
    match &status.serves {
        Some(serves) => {
            let version = serves.version.as_deref().unwrap_or("an earlier release");
            let since = serves
                .finished_at
                .as_deref()
                .map(second)
                .unwrap_or_default();
            name.and(Tone::Plain, ": ")
                .and(Tone::Good, format!("{version} serves"))
                .and(Tone::Quiet, format!(" since {since}"))
        }
        None => name.and(Tone::Plain, ": nothing was released yet"),
    }
}

fn release(release: &Release, now: Timestamp) -> Node {
    let word = release.action.word();
    let mut line = Node::new(word).and(Tone::Strong, format!(" {}", release.name));
    if let Some(version) = &release.version {
        line = line.and(Tone::Plain, format!(", {version}"));
    }
    if let Some(commit) = &release.commit {
        line = line.and(Tone::Quiet, format!(", commit {commit}"));
    }
    if let Some(who) = &release.started_by {
        line = line.and(Tone::Quiet, format!(", asked for by {who}"));
    }
    let runs = release.ended.is_none();
    let mut below: Vec<Node> = release.steps.iter().map(|it| step(it, runs, now)).collect();
    below.extend(release.awaits.iter().filter(|_| runs).map(|awaits| {
        let awaits = awaits.lines().next().unwrap_or_default();
        Node::default().and(Tone::Busy, format!("waits: {awaits}"))
    }));
    if let Some(ended) = &release.ended {
        below.push(verdict_and_cause(&ended.verdict, Some(&ended.cause)));
    }
    line.with(below)
}

fn step(step: &Step, runs: bool, now: Timestamp) -> Node {
    let is_there = runs && step.to.is_none();
    let (mark, tone) = if is_there {
        ("● ", Tone::Busy)
    } else {
        ("✓ ", Tone::Good)
    };
    let line = Node::default()
        .and(tone, mark)
        .and(Tone::Plain, step.phase.word())
        .and(Tone::Quiet, format!("  {:.1} s", step.seconds(now)));
    if is_there {
        line.and(Tone::Quiet, format!(" in {}", step.state))
    } else {
        line
    }
}

fn service(service: &Service) -> Node {
    let name = Node::default().and(Tone::Strong, &service.name);
    let tasks = |revision: &Revision| {
        let Revision {
            version,
            running,
            desired,
            ..
        } = revision;
        let tone = if running < desired {
            Tone::Busy
        } else {
            Tone::Plain
        };
        (tone, format!("{running} of {desired} tasks run {version}"))
    };
    match (&service.deployment, service.revisions.as_slice()) {
        (None, [only]) => {
            let (tone, text) = tasks(only);
            name.and(Tone::Plain, "  ").and(tone, text)
        }
        (deployment, revisions) => {
            let mut words = vec![service.strategy.as_str()];
            if let Some(deployment) = deployment {
                words.push(&deployment.status);
                words.extend(deployment.lifecycle_stage.as_deref());
            }
            let revision = |it| {
                let (tone, text) = tasks(it);
                Node::default().and(tone, text)
            };
            name.and(Tone::Busy, format!("  {}", words.join(" ")))
                .with(revisions.iter().map(revision))
        }
    }
}

fn alarms(alarms: &[Alarm]) -> Option<Node> {
    let count = alarms.len();
    let in_alarm: Vec<_> = alarms.iter().filter(|alarm| alarm.in_alarm).collect();
    if count == 0 {
        return None;
    }
    if in_alarm.is_empty() {
        let quiet = if count == 1 {
            "its one alarm is quiet".to_owned()
        } else {
            format!("all {count} are quiet")
        };
        return Some(Node::new("alarms  ").and(Tone::Quiet, quiet));
    }
    let firing =
        |alarm: &&Alarm| Node::default().and(Tone::Bad, format!("{} is in ALARM", alarm.name));
    Some(Node::new("alarms").with(in_alarm.iter().map(firing)))
}

fn waiting(waiting: &Waiting, now: Timestamp) -> Node {
    let since = waiting.since.parse::<Timestamp>().ok();
    let seconds = since.map(|since| now.duration_since(since).as_secs_f64());
    let line = Node::new("next    ").and(Tone::Strong, &waiting.name);
    let what = match &waiting.waits_for {
        Some(other) => format!(" waits for the end of {other}"),
        None => " waits for its turn".to_owned(),
    };
    let line = line.and(Tone::Plain, what);
    match seconds {
        Some(seconds) => line.and(Tone::Quiet, format!(", {seconds:.0} s so far")),
        None => line,
    }
}

/// The newest release that has ended, where the headline does not say all of it.
fn last(status: &Status) -> Option<Node> {
    let last = status.last.as_ref()?;
    let is_shown = status
        .release
        .as_ref()
        .is_some_and(|release| release.name == last.name);
    let is_serving = status
        .serves
        .as_ref()
        .is_some_and(|serves| serves.name == last.name && last.verdict == verdict::SUCCEEDED);
    if is_shown || is_serving {
        return None;
    }
    let Past {
        name,
        action,
        version,
        verdict,
        cause,
        ..
    } = last;
    let version = version.as_deref().map(|version| format!(" of {version}"));
    let what = format!("last    {}{}", action.word(), version.unwrap_or_default());
    let line = Node::new(what).and(Tone::Quiet, format!(" ({name})"));
    Some(line.with([verdict_and_cause(verdict, cause.as_deref())]))
}

fn verdict_and_cause(verdict: &str, cause: Option<&str>) -> Node {
    let tone = match Exit::of(verdict) {
        Exit::Done => Tone::Good,
        Exit::Superseded => Tone::Quiet,
        _ => Tone::Bad,
    };
    let line = Node::default().and(tone, verdict);
    match cause.and_then(|cause| cause.lines().next()) {
        Some(cause) if !cause.is_empty() => line.and(Tone::Plain, format!(": {cause}")),
        _ => line,
    }
}

/// `2026-05-04T09:10:11.123Z` as `2026-05-04 09:10:11 UTC`.
fn second(time: &str) -> String {
    let whole = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{} UTC", whole.replace('T', " "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::Phase;
    use crate::status::{Deployment, Ended};
    use crate::tree::plain;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_777_885_811 + second).unwrap()
    }

    fn revision(version: &str, running: i32) -> Revision {
        Revision {
            version: version.to_owned(),
            task_definition: format!("arn:task-definition/{version}"),
            running,
            desired: 2,
        }
    }

    /// A stack that is at rest.
    fn at_rest() -> Status {
        Status {
            stack: "shop".to_owned(),
            at: at(60),
            release: None,
            waiting: None,
            serves: Some(Past {
                name: "shop-v41".to_owned(),
                action: RequestedAction::Deploy,
                version: Some("v41".to_owned()),
                verdict: "succeeded".to_owned(),
                finished_at: Some("2026-05-04T09:10:11.123Z".to_owned()),
                cause: None,
            }),
            last: None,
            services: vec![Service {
                name: "web".to_owned(),
                strategy: "BLUE_GREEN".to_owned(),
                deployment: None,
                revisions: vec![revision("v41", 2)],
            }],
            alarms: vec![Alarm {
                name: "shop-5xx".to_owned(),
                in_alarm: false,
            }],
        }
    }

    /// The same while the next version is verified and another one waits.
    pub(crate) fn in_progress() -> Status {
        let mut status = at_rest();
        let step = |phase, state: &str, from, to: Option<i64>| Step {
            phase,
            state: state.to_owned(),
            from: at(from),
            to: to.map(at),
        };
        status.release = Some(Release {
            name: "shop-v42".to_owned(),
            execution: "arn:execution:shop-v42".to_owned(),
            action: RequestedAction::Deploy,
            version: Some("v42".to_owned()),
            commit: Some("4f2ec58".to_owned()),
            started_by: Some("push of shop:v42".to_owned()),
            steps: vec![
                step(Phase::Plan, "PlanRelease", 0, Some(1)),
                step(Phase::Migrate, "CheckExitCode", 1, Some(8)),
                step(Phase::Verify, "VerifyHealth", 8, None),
            ],
            awaits: None,
            migration: None,
            ended: None,
        });
        status.services[0].deployment = Some(Deployment {
            status: "IN_PROGRESS".to_owned(),
            lifecycle_stage: Some("BAKE_TIME".to_owned()),
        });
        status.services[0].revisions = vec![revision("v42", 1), revision("v41", 2)];
        status.waiting = Some(Waiting {
            name: "shop-v43".to_owned(),
            since: "2026-05-04T09:11:01.000Z".to_owned(),
            waits_for: Some("shop-v42".to_owned()),
        });
        status
    }

    #[test]
    fn at_rest_the_tree_says_what_serves() {
        let expected = "\
shop: v41 serves since 2026-05-04 09:10:11 UTC
├─ services
│  └─ web  2 of 2 tasks run v41
└─ alarms  its one alarm is quiet";
        assert_eq!(plain(&tree(&at_rest()).lines()), expected);
    }

    #[test]
    fn of_a_release_in_progress_it_says_how_far_it_is_and_what_each_service_does() {
        let expected = "\
shop: v42 is being released
├─ deploy shop-v42, v42, commit 4f2ec58, asked for by push of shop:v42
│  ├─ ✓ plan  1.0 s
│  ├─ ✓ migrate  7.0 s
│  └─ ● verify  52.0 s in VerifyHealth
├─ services
│  └─ web  BLUE_GREEN IN_PROGRESS BAKE_TIME
│     ├─ 1 of 2 tasks run v42
│     └─ 2 of 2 tasks run v41
├─ alarms  its one alarm is quiet
└─ next    shop-v43 waits for the end of shop-v42, 10 s so far";
        assert_eq!(plain(&tree(&in_progress()).lines()), expected);
    }

    #[test]
    fn an_alarm_and_the_end_of_a_release_that_failed_are_told() {
        let mut status = in_progress();
        status.alarms[0].in_alarm = true;
        let release = status.release.as_mut().unwrap();
        release.ended = Some(Ended {
            verdict: "rolledBack".to_owned(),
            cause: "v42 was rolled back: shop-5xx is in ALARM.\nMore.".to_owned(),
        });
        let told = plain(&tree(&status).lines());
        for line in [
            "shop: v41 serves since",
            "│  ├─ ✓ verify  52.0 s\n",
            "│  └─ rolledBack: v42 was rolled back: shop-5xx is in ALARM.\n",
            "│  └─ shop-5xx is in ALARM\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_failed_release_before_is_told_beside_what_serves() {
        let mut status = at_rest();
        status.last = Some(Past {
            name: "shop-v42".to_owned(),
            action: RequestedAction::Deploy,
            version: Some("v42".to_owned()),
            verdict: "failed".to_owned(),
            finished_at: None,
            cause: Some("The migration exited 1.".to_owned()),
        });
        let told = plain(&tree(&status).lines());
        let expected = "└─ last    deploy of v42 (shop-v42)\n   └─ failed: The migration exited 1.";
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn a_stack_to_which_nothing_was_released_says_so() {
        let mut status = at_rest();
        status.serves = None;
        let told = plain(&tree(&status).lines());
        assert!(
            told.starts_with("shop: nothing was released yet\n"),
            "{told}"
        );
    }
}

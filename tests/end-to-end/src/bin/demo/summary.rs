//! What the demo says at its end, and whether all was as it should be.

use std::io::{Write, stdout};

use bluegreen_contract::printable;
use end_to_end::application::ServiceState;
use end_to_end::execution::{End, Stay};
use end_to_end::visitor::Visits;

/// How a scenario must end.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// The execution's status.
    pub(crate) status: &'static str,
    /// The execution's error, empty for a success.
    pub(crate) error: &'static str,
    /// The heading at the load balancer.
    pub(crate) heading: &'static str,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) expected: Expectation,
    pub(crate) end: End,
    pub(crate) stays: Vec<Stay>,
    /// What took time and is not the pipeline's own part, in seconds.
    pub(crate) times: Vec<(String, f64)>,
    pub(crate) visits: Visits,
    pub(crate) heading: String,
    pub(crate) service: ServiceState,
}

impl Summary {
    /// Prints the summary; answers what was not as it should be.
    pub(crate) fn print(&self) -> Vec<String> {
        // Nobody reads on: the exit code still tells.
        let _ = stdout().write_all(printable(&self.text()).as_bytes());
        self.surprises()
    }

    fn text(&self) -> String {
        let mut text = format!("\nExecution: {} {}\n", self.end.status, self.end.error);
        let reason = self.end.output["reason"].as_str().unwrap_or_default();
        for line in self.end.cause.lines().chain(reason.lines()) {
            text += &format!("  {line}\n");
        }
        text += "\nTime in each state\n";
        for (state, times, seconds) in self.by_state() {
            text += &format!("  {state:<18} {seconds:>7.2} s  {times:>3} x\n");
        }
        let total = self.total();
        let own = total - self.times.iter().map(|(_, seconds)| seconds).sum::<f64>();
        text += &format!("  {:<18} {total:>7.2} s\n", "whole execution");
        for (what, seconds) in &self.times {
            text += &format!("  of which {seconds:.2} s {what}\n");
        }
        text += &format!("  the pipeline's own part: {own:.2} s\n");
        text += "\nRequests by version\n";
        for (heading, count) in &self.visits.by_heading {
            text += &format!("  {heading:<18} {count:>7}\n");
        }
        let (failed, sent) = (self.visits.failed, self.visits.sent());
        text += &format!("  {:<18} {failed:>7} of {sent}\n", "failed");
        text += &format!(
            "\nAt the load balancer now: {}\nIn ECS: {} of {} tasks run {}\n",
            self.heading, self.service.running, self.service.desired, self.service.image
        );
        text
    }

    /// State, number of stays and seconds in it, in the order of the first stay.
    fn by_state(&self) -> Vec<(&str, usize, f64)> {
        let mut rows: Vec<(&str, usize, f64)> = Vec::new();
        for stay in &self.stays {
            let seconds = stay
                .left
                .map_or(0.0, |left| left.duration_since(stay.entered).as_secs_f64());
            match rows.iter_mut().find(|(state, ..)| *state == stay.state) {
                Some((_, times, sum)) => {
                    *times += 1;
                    *sum += seconds;
                }
                None => rows.push((&stay.state, 1, seconds)),
            }
        }
        rows
    }

    fn total(&self) -> f64 {
        let (Some(first), Some(last)) = (self.stays.first(), self.stays.last()) else {
            return 0.0;
        };
        let end = last.left.unwrap_or(last.entered);
        end.duration_since(first.entered).as_secs_f64()
    }

    fn surprises(&self) -> Vec<String> {
        let expected = &self.expected;
        let mut surprises = Vec::new();
        let mut check = |holds: bool, otherwise: String| {
            if !holds {
                surprises.push(otherwise);
            }
        };
        check(
            self.end.status == expected.status && self.end.error == expected.error,
            format!(
                "the execution should have ended {} {}",
                expected.status, expected.error
            ),
        );
        check(
            self.heading == expected.heading,
            format!("the load balancer should answer {}", expected.heading),
        );
        check(
            self.visits.failed == 0,
            format!(
                "{} requests failed, the first because: {}",
                self.visits.failed,
                self.visits.failures.join("; ")
            ),
        );
        check(
            self.service.rollout == "COMPLETED" && self.service.deployments == 1,
            format!("the service should be at rest: {:?}", self.service),
        );
        check(
            self.service.running_images == [self.service.image.clone()],
            format!(
                "all tasks should run the service's image: {:?}",
                self.service
            ),
        );
        surprises
    }
}

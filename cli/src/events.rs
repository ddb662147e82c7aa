//! What CloudFormation says while it works on a stack.

use aws_sdk_cloudformation::types::StackEvent;

const STACK_TYPE: &str = "AWS::CloudFormation::Stack";

/// The line for an event, if it tells anything new: a resource is begun once and done once.
pub(crate) fn line(event: &StackEvent) -> Option<String> {
    let status = status(event);
    let reason = event.resource_status_reason().unwrap_or_default();
    // The second IN_PROGRESS of a resource only says that its handler has answered.
    if reason.ends_with("Initiated") && !is_of_stack(event) {
        return None;
    }
    let name = event.logical_resource_id().unwrap_or_default();
    let kind = event.resource_type().unwrap_or_default();
    let told = if reason.is_empty() || reason == "User Initiated" {
        String::new()
    } else {
        format!(": {reason}")
    };
    Some(format!("{status:<18} {name} ({kind}){told}"))
}

/// Whether an event ends the operation on the stack itself.
pub(crate) fn ends(event: &StackEvent) -> bool {
    is_of_stack(event) && !status(event).ends_with("_IN_PROGRESS")
}

/// Whether an event is the stack's own and not one of its resources'.
pub(crate) fn is_of_stack(event: &StackEvent) -> bool {
    event.resource_type() == Some(STACK_TYPE) && event.physical_resource_id() == event.stack_id()
}

pub(crate) fn status(event: &StackEvent) -> &str {
    event.resource_status().map_or("", |status| status.as_str())
}

/// Why an operation failed: the first resource that did, of its own accord. What CloudFormation
/// cancels after that, and the sum it draws for the stack, say nothing new.
///
/// `events` are those of the operation, the oldest first.
#[must_use]
pub fn reason_that_matters(events: &[StackEvent]) -> Option<String> {
    let own = |event: &&StackEvent| {
        let reason = event.resource_status_reason().unwrap_or_default();
        status(event).ends_with("_FAILED")
            && !reason.is_empty()
            && !(reason.starts_with("Resource ") && reason.contains("cancelled"))
    };
    let resource = events
        .iter()
        .filter(|event| !is_of_stack(event))
        .find(own)
        .map(|event| {
            format!(
                "{} ({}): {}",
                event.logical_resource_id().unwrap_or_default(),
                event.resource_type().unwrap_or_default(),
                event.resource_status_reason().unwrap_or_default()
            )
        });
    resource.or_else(|| {
        let of_stack = events.iter().filter(|event| is_of_stack(event));
        let mut reasons = of_stack.filter_map(StackEvent::resource_status_reason);
        reasons
            .find(|reason| *reason != "User Initiated")
            .map(str::to_owned)
    })
}

/// The resources that were begun and are not done, in the order of their beginning.
pub(crate) fn unfinished(events: &[StackEvent]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for event in events.iter().filter(|event| !is_of_stack(event)) {
        let name = event.logical_resource_id().unwrap_or_default();
        names.retain(|known| *known != name);
        if status(event).ends_with("_IN_PROGRESS") {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_cloudformation::types::ResourceStatus;

    use super::*;

    pub(crate) fn event(name: &str, kind: &str, status: &str, reason: &str) -> StackEvent {
        let id = if kind == STACK_TYPE {
            "arn:stack"
        } else {
            "physical"
        };
        let event = StackEvent::builder()
            .stack_id("arn:stack")
            .logical_resource_id(name)
            .physical_resource_id(id)
            .resource_type(kind)
            .resource_status(ResourceStatus::from(status));
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        event.set_resource_status_reason(reason).build()
    }

    const VPC: &str = "AWS::EC2::VPC";

    #[test]
    fn the_first_resource_that_failed_of_its_own_accord_is_the_reason() {
        let events = [
            event("demo", STACK_TYPE, "CREATE_IN_PROGRESS", "User Initiated"),
            event("A", VPC, "CREATE_FAILED", "Resource creation cancelled"),
            event(
                "B",
                VPC,
                "CREATE_FAILED",
                "The maximum number of VPCs has been reached.",
            ),
            event("C", VPC, "CREATE_FAILED", "Another one."),
            event(
                "demo",
                STACK_TYPE,
                "ROLLBACK_IN_PROGRESS",
                "The following resource(s) failed to create: [A, B, C].",
            ),
        ];
        assert_eq!(
            reason_that_matters(&events).unwrap(),
            "B (AWS::EC2::VPC): The maximum number of VPCs has been reached."
        );
    }

    #[test]
    fn where_no_resource_failed_the_stack_says_why() {
        let events = [
            event("demo", STACK_TYPE, "CREATE_IN_PROGRESS", "User Initiated"),
            event(
                "demo",
                STACK_TYPE,
                "ROLLBACK_IN_PROGRESS",
                "Parameter VpcId names no VPC.",
            ),
        ];
        assert_eq!(
            reason_that_matters(&events).unwrap(),
            "Parameter VpcId names no VPC."
        );
        assert_eq!(reason_that_matters(&events[..1]), None);
    }

    #[test]
    fn only_an_event_of_the_stack_itself_ends_the_operation() {
        assert!(ends(&event("demo", STACK_TYPE, "CREATE_COMPLETE", "")));
        assert!(!ends(&event(
            "demo",
            STACK_TYPE,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            ""
        )));
        assert!(!ends(&event("A", VPC, "CREATE_COMPLETE", "")));
    }

    #[test]
    fn a_resource_is_told_of_when_it_is_begun_and_when_it_is_done() {
        let begun = line(&event("A", VPC, "CREATE_IN_PROGRESS", ""));
        assert_eq!(begun.unwrap(), "CREATE_IN_PROGRESS A (AWS::EC2::VPC)");
        let again = event(
            "A",
            VPC,
            "CREATE_IN_PROGRESS",
            "Resource creation Initiated",
        );
        assert_eq!(line(&again), None);
        let failed = line(&event("A", VPC, "CREATE_FAILED", "No more VPCs."));
        assert_eq!(
            failed.unwrap(),
            "CREATE_FAILED      A (AWS::EC2::VPC): No more VPCs."
        );
    }

    #[test]
    fn what_is_waited_for_is_what_was_begun_and_is_not_done() {
        let events = [
            event("A", VPC, "CREATE_IN_PROGRESS", ""),
            event("B", VPC, "CREATE_IN_PROGRESS", ""),
            event("A", VPC, "CREATE_COMPLETE", ""),
        ];
        assert_eq!(unfinished(&events), ["B"]);
    }
}

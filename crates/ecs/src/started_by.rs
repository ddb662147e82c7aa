//! By what the one-off tasks of a stack are found again.

use sha2::{Digest, Sha256};

/// The most that ECS takes
/// (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>).
const LENGTH: usize = 128;
const PREFIX: &str = "bluegreen/";
/// Hexadecimal digits that tell apart what cutting makes equal.
const HASH_LENGTH: usize = 16;

/// `startedBy` of every one-off task that the pipeline runs for a stack: ListTasks finds them by
/// it, whichever execution started them. A stack's name may be as long as the whole value; a longer
/// one is cut, and a hash takes its end's place.
pub fn started_by(stack: &str) -> String {
    let whole = format!("{PREFIX}{stack}");
    if whole.len() <= LENGTH {
        return whole;
    }
    let hash: String = Sha256::digest(stack)
        .iter()
        .take(HASH_LENGTH / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let kept: String = whole.chars().take(LENGTH - HASH_LENGTH - 1).collect();
    format!("{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_fits_is_named_in_full() {
        assert_eq!(started_by("demo"), "bluegreen/demo");
        let longest = "s".repeat(118);
        assert_eq!(started_by(&longest), format!("bluegreen/{longest}"));
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        let (one, other) = ("s".repeat(119), "s".repeat(128));
        for stack in [&one, &other] {
            assert_eq!(started_by(stack).len(), LENGTH);
            assert_eq!(started_by(stack), started_by(stack));
        }
        assert_ne!(started_by(&one), started_by(&other));
    }

    #[test]
    fn only_characters_that_ecs_takes_are_in_it() {
        let value = started_by(&"Demo-1".repeat(21));
        assert!(
            value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_'))
        );
    }
}

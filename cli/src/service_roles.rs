//! The role that ECS takes on in an account for itself.
//!
//! ECS makes it with an account's first cluster, but cannot take it on at once: the cluster, or the service
//! right behind it, then fails with "Unable to assume the service linked role"
//! (<https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/818>). It is made first,
//! and is ready when the network and the database stand.

use anyhow::Result;

use crate::world::World;

/// Makes ECS's role where the account lacks it.
///
/// Who may not make it is told of that: the account may have the role, and who may not look whether it
/// does should not fail for it.
///
/// # Errors
/// IAM does not answer.
pub(crate) async fn make(world: &World) -> Result<()> {
    let create = ["iam", "create-service-linked-role"];
    let service = ["--aws-service-name", "ecs.amazonaws.com"];
    match world.cli.run([create, service].concat()).await {
        Ok(_) => world.say.line("The account has ECS's own role now"),
        Err(error) => match Refusal::of(&error.to_string()) {
            Some(Refusal::Exists) => {}
            Some(Refusal::Denied) => world.say.line(
                "ECS's own role in the account (AWSServiceRoleForECS) may not be made with these \
                 credentials. If the account never had an ECS cluster, the first one may fail: run \
                 make up once more then.",
            ),
            None => return Err(error),
        },
    }
    Ok(())
}

/// Why IAM makes no role.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Exists,
    Denied,
}

impl Refusal {
    /// What the AWS CLI says of a refusal.
    fn of(error: &str) -> Option<Self> {
        // Other inputs would be invalid, too: IAM says of this one what is the matter.
        if error.contains("(InvalidInput)") && error.contains("has been taken in this account") {
            return Some(Self::Exists);
        }
        error.contains("(AccessDenied)").then_some(Self::Denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_exists_is_told_from_other_refusals() {
        let said = |code: &str, message: &str| {
            format!(
                "aws iam create-service-linked-role failed: An error occurred ({code}) when calling the CreateServiceLinkedRole operation: {message}"
            )
        };
        let taken = "Service role name AWSServiceRoleForECS has been taken in this account, please try a different suffix.";
        let denied = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: iam:CreateServiceLinkedRole";
        for (error, expected) in [
            (said("InvalidInput", taken), Some(Refusal::Exists)),
            (said("InvalidInput", "Suffix is not allowed."), None),
            (said("AccessDenied", denied), Some(Refusal::Denied)),
            (said("ServiceFailure", "later"), None),
        ] {
            assert_eq!(Refusal::of(&error), expected, "{error}");
        }
    }
}

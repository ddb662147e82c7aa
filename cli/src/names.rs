//! What the parts of an application are called.

use std::str::FromStr;

use anyhow::{Result, ensure};

/// The stack of the pipeline, one for all applications of an account and region.
pub const PIPELINE: &str = "bluegreen";
/// The stack of the bucket that templates and functions are uploaded to.
pub const ARTIFACTS: &str = "bluegreen-artifacts";

/// What the names of an application's other stacks end in.
const PARTS: [&str; 3] = [NETWORK, REPOSITORY, DATABASE];
const NETWORK: &str = "-network";
const REPOSITORY: &str = "-repository";
const DATABASE: &str = "-database";

/// The longest name that a stack has in CloudFormation.
const LONGEST_STACK: usize = 128;
/// The longest name for which the names made of it are short enough: CloudFormation's stacks have
/// 128 characters, but an RDS instance has 63 and its name is made of its stack's.
const LONGEST: usize = 40;

/// An application: the name of its stack, of which all other names are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application(String);

impl FromStr for Application {
    type Err = anyhow::Error;

    /// # Errors
    /// The name is none that a stack, a repository and a parameter can all be called.
    fn from_str(name: &str) -> Result<Self> {
        let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
        let parts = name.split('-').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
        ensure!(
            starts && parts && (2..=LONGEST).contains(&name.len()),
            "{name:?} is no name for an application: take lower-case letters, digits and single \
             hyphens, a letter first, 2 to {LONGEST} characters"
        );
        ensure!(
            name != PIPELINE && name != ARTIFACTS,
            "{name} is the stack of the pipeline: give the application another name"
        );
        for part in PARTS {
            ensure!(
                !name.ends_with(part),
                "{name} could be the stack of another application's {}: give the application a \
                 name that does not end in {part}",
                &part[1..]
            );
        }
        Ok(Self(name.to_owned()))
    }
}

impl Application {
    /// The stack of `cluster.yml`, and the name of the repository.
    #[must_use]
    pub fn stack(&self) -> &str {
        &self.0
    }

    /// The stack of `network.yml`.
    #[must_use]
    pub fn network(&self) -> String {
        format!("{}{NETWORK}", self.0)
    }

    /// The stack of `image-repository.yml`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}{REPOSITORY}", self.0)
    }

    /// The stack of `database.yml`.
    #[must_use]
    pub fn database(&self) -> String {
        format!("{}{DATABASE}", self.0)
    }

    /// The SSM parameter with the URI of the image that the application's stack runs.
    #[must_use]
    pub fn image_parameter(&self) -> String {
        format!("/bluegreen/{}/image", self.0)
    }

    /// The SSM parameter with the ARN of the execution that released the first image. It is there
    /// once that image is in service.
    #[must_use]
    pub fn first_release_parameter(&self) -> String {
        format!("/bluegreen/{}/first-release", self.0)
    }
}

/// Any stack, whoever made it and whatever its name.
///
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackName(String);

impl FromStr for StackName {
    type Err = anyhow::Error;

    /// # Errors
    /// CloudFormation has no such names.
    fn from_str(name: &str) -> Result<Self> {
        ensure!(
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && name.len() <= LONGEST_STACK,
            "{name:?} is no name of a stack: CloudFormation's have letters, digits and hyphens, a \
             letter first, {LONGEST_STACK} at most"
        );
        Ok(Self(name.to_owned()))
    }
}

impl StackName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_do_for_stack_repository_and_database() {
        for name in ["demo", "shop-2", "a1"] {
            assert_eq!(name.parse::<Application>().unwrap().stack(), name);
        }
        let long = "a".repeat(LONGEST + 1);
        for name in [
            "", "a", "Demo", "2nd", "a_b", "a--b", "a-", "-a", "a b", &long,
        ] {
            let error = name.parse::<Application>().unwrap_err().to_string();
            assert!(error.contains("is no name"), "{error}");
        }
    }

    #[test]
    fn no_application_takes_the_name_of_a_part_of_another() {
        for name in ["shop-network", "shop-repository", "a-b-database"] {
            let error = name.parse::<Application>().unwrap_err().to_string();
            assert!(error.contains("does not end in -"), "{error}");
        }
        for name in ["network", "shop-network-2", "networks"] {
            assert!(name.parse::<Application>().is_ok(), "{name}");
        }
    }

    #[test]
    fn a_stack_of_anybody_has_any_name_that_cloudformation_has() {
        for name in ["ShopStack", "bluegreen", "a", "shop-database"] {
            assert_eq!(name.parse::<StackName>().unwrap().as_str(), name);
        }
        for name in ["", "2nd", "-a", "a_b", "a b", &"a".repeat(129)] {
            let error = name.parse::<StackName>().unwrap_err().to_string();
            assert!(error.contains("is no name of a stack"), "{error}");
        }
    }

    #[test]
    fn no_application_takes_the_pipelines_name() {
        for name in [PIPELINE, ARTIFACTS] {
            let error = name.parse::<Application>().unwrap_err().to_string();
            assert!(error.contains("stack of the pipeline"), "{error}");
        }
    }
}

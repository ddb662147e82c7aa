//! What the parts of an application are called.

use std::str::FromStr;

use anyhow::{Result, ensure};

/// The stack of the pipeline, one for all applications of an account and region.
pub const PIPELINE: &str = "bluegreen";
/// The stack of the bucket that templates and functions are uploaded to.
pub const ARTIFACTS: &str = "bluegreen-artifacts";

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
        format!("{}-network", self.0)
    }

    /// The stack of `image-repository.yml`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}-repository", self.0)
    }

    /// The stack of `database.yml`.
    #[must_use]
    pub fn database(&self) -> String {
        format!("{}-database", self.0)
    }

    /// The SSM parameter with the URI of the image that the application's stack runs.
    #[must_use]
    pub fn image_parameter(&self) -> String {
        format!("/bluegreen/{}/image", self.0)
    }

    /// The SSM parameter with the ARN of the execution that migrated the database for the first
    /// image: CloudFormation starts services, and runs no migration.
    #[must_use]
    pub fn first_release_parameter(&self) -> String {
        format!("/bluegreen/{}/first-release", self.0)
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
    fn no_application_takes_the_pipelines_name() {
        for name in [PIPELINE, ARTIFACTS] {
            let error = name.parse::<Application>().unwrap_err().to_string();
            assert!(error.contains("stack of the pipeline"), "{error}");
        }
    }
}

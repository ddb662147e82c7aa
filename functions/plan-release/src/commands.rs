//! The commands that the stack's outputs ask for: a migration before the image serves, one to run once
//! it does, and one that removes what only earlier releases need.

use crate::entry_point;
use crate::failure::{Failure, IgnoredCommand};
use crate::outputs;
use crate::services::AppService;
use crate::stack::Stack;
use bluegreen_contract::{Command, ImageConfig, Purpose, TaskSize};
use std::ops::RangeInclusive;

const CONTAINER: &str = "MigrationContainer";
const CPU: &str = "MigrationCpu";
const MEMORY: &str = "MigrationMemory";

/// Which sizes go together ECS knows best; no task is smaller or larger than these
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size>).
const CPU_UNITS: RangeInclusive<u32> = 128..=196_608;
const MEMORY_MIB: RangeInclusive<u32> = 4..=4_194_304;

/// What of a stack a command comes from.
pub(crate) struct Commands<'a> {
    pub(crate) stack: &'a Stack,
    /// Those that run images of the repository.
    pub(crate) services: &'a [AppService],
    pub(crate) repository: &'a str,
    /// Of the image that is released.
    pub(crate) configs: &'a [ImageConfig],
}

impl Commands<'_> {
    /// `None` where the stack has no migration.
    ///
    /// # Errors
    /// `InvalidStackOutput` that says which output and what it should hold;
    /// `EntryPointIgnoresCommand`.
    pub(crate) fn migration(&self, timeout_seconds: u32) -> Result<Option<Command>, Failure> {
        let stack = self.stack;
        if stack.outputs.is_empty() && stack.status.ends_with("_FAILED") {
            return Err(stack.invalid(Purpose::Migration.output(), untold(&stack.status)));
        }
        self.command(Purpose::Migration, timeout_seconds)
    }

    /// `None` where nothing is to run once the image serves.
    ///
    /// # Errors
    /// As for the migration.
    pub(crate) fn post_deploy(&self, timeout_seconds: u32) -> Result<Option<Command>, Failure> {
        self.command(Purpose::PostDeploy, timeout_seconds)
    }

    /// `None` where nothing is to be removed later.
    ///
    /// # Errors
    /// As for the migration.
    pub(crate) fn contract(&self, timeout_seconds: u32) -> Result<Option<Command>, Failure> {
        self.command(Purpose::Contract, timeout_seconds)
    }

    /// The container is one whose image is the repository's, in the first service that has it: another
    /// container would run another image than the one that is released.
    fn command(&self, purpose: Purpose, timeout_seconds: u32) -> Result<Option<Command>, Failure> {
        let stack = self.stack;
        let output = purpose.output();
        let Some(command) = stack.output(output) else {
            return Ok(None);
        };
        let command = parse_command(command).map_err(|problem| stack.invalid(output, problem))?;
        let (service, container) =
            container(self.services, self.repository, stack.output(CONTAINER))
                .map_err(|problem| stack.invalid(CONTAINER, problem))?;
        let entry_point = service.entry_point(&container, self.configs);
        let words = entry_point::words(entry_point, command.clone()).map_err(|ignored| {
            Failure::EntryPointIgnoresCommand(Box::new(IgnoredCommand {
                purpose: purpose.name(),
                container: container.clone(),
                service: service.arn().service.clone(),
                entry_point: entry_point::line(entry_point),
                command: entry_point::line(&command),
                script: ignored.script,
            }))
        })?;
        Ok(Some(Command {
            purpose,
            cluster: service.arn().cluster.clone(),
            service: service.arn().service.clone(),
            task_definition: service.task_definition().to_owned(),
            container,
            line: [entry_point, &words].concat(),
            command: words,
            size: match purpose {
                Purpose::Migration => TaskSize {
                    cpu: outputs::number(stack, CPU, CPU_UNITS, "CPU units")?,
                    memory: outputs::number(stack, MEMORY, MEMORY_MIB, "MiB")?,
                },
                Purpose::PostDeploy | Purpose::Contract => TaskSize::default(),
            },
            timeout_seconds,
        }))
    }
}

/// The other repository whose image the stack's commands belong to: that of the container which the
/// stack names for them, where it is in a service that runs nothing of `repository`.
pub(crate) fn other_owner<'a>(
    stack: &Stack,
    services: &'a [AppService],
    repository: &str,
) -> Option<&'a str> {
    let named = stack.output(CONTAINER)?;
    let own = |service: &'a AppService| service.containers_of(&[repository]);
    if services.iter().any(|service| own(service).contains(&named)) {
        return None;
    }
    let mut others = services.iter().filter(|service| own(service).is_empty());
    others.find_map(|service| service.repository_of(named))
}

/// While a stack is out of order, CloudFormation may leave its outputs out. That must not be taken
/// for a stack without a migration.
fn untold(status: &str) -> String {
    format!(
        "the stack is {status}, and CloudFormation tells no outputs of it. Bring the stack back in order, or give `\"migrate\": false` in the input to release without a migration and without anything else that the outputs ask for"
    )
}

fn parse_command(output: &str) -> Result<Vec<String>, String> {
    match serde_json::from_str::<Vec<String>>(output) {
        // No program can be given a word with NUL.
        Ok(command) if !command.is_empty() && !command.concat().contains('\0') => Ok(command),
        _ => Err(format!(
            "`{output}` is not a JSON array of strings such as [\"websvc\", \"migrate\"]"
        )),
    }
}

fn container<'a>(
    services: &'a [AppService],
    repository: &str,
    wanted: Option<&str>,
) -> Result<(&'a AppService, String), String> {
    let candidates = || {
        services
            .iter()
            .map(|service| (service, service.containers_of(&[repository])))
            .filter(|(_, containers)| !containers.is_empty())
    };
    if let Some(wanted) = wanted {
        return candidates()
            .find(|(_, containers)| containers.contains(&wanted))
            .map(|(service, _)| (service, wanted.to_owned()))
            .ok_or_else(|| {
                format!("no service has a container `{wanted}` with an image of {repository}")
            });
    }
    match candidates().next() {
        Some((service, containers)) => match containers[..] {
            [only] => Ok((service, only.to_owned())),
            _ => Err(format!(
                "it is missing, and the service {} has several containers with an image of {repository}: {}",
                service.arn().service,
                containers.join(", ")
            )),
        },
        None => Err(format!(
            "no service has a container with an image of {repository}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_json_array_of_strings() {
        assert_eq!(
            parse_command(r#"["websvc", "migrate"]"#).unwrap(),
            ["websvc", "migrate"]
        );
        let nul = r#"["websvc\u0000"]"#;
        for output in ["websvc migrate", "[]", "[1]", r#""websvc""#, "{}", nul] {
            assert!(parse_command(output).unwrap_err().contains(output));
        }
    }
}

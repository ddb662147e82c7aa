//! The migration that the stack's outputs ask for.

use crate::failure::Failure;
use crate::services::AppService;
use crate::stack::Stack;
use bluegreen_contract::Migration;

const COMMAND: &str = "MigrationCommand";
const CONTAINER: &str = "MigrationContainer";

/// `None` where the stack has no migration command.
///
/// The container is one whose image is the repository's, in the first service that has it: another
/// container would migrate with another image than the one that is released.
///
/// # Errors
/// `InvalidStackOutput` that says which output and what it should hold.
pub(crate) fn of_stack(
    stack: &Stack,
    services: &[AppService],
    repository: &str,
) -> Result<Option<Migration>, Failure> {
    let output = |name: &str| {
        let value = stack.outputs.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty())
    };
    let invalid = |output: &'static str, problem: String| Failure::InvalidStackOutput {
        stack: stack.name.clone(),
        output,
        problem,
    };
    if stack.outputs.is_empty() && stack.status.ends_with("_FAILED") {
        return Err(invalid(COMMAND, untold(&stack.status)));
    }
    let Some(command) = output(COMMAND) else {
        return Ok(None);
    };
    let command = parse_command(command).map_err(|problem| invalid(COMMAND, problem))?;
    let (service, container) = container(services, repository, output(CONTAINER))
        .map_err(|problem| invalid(CONTAINER, problem))?;
    Ok(Some(Migration {
        cluster: service.arn().cluster.clone(),
        service: service.arn().service.clone(),
        task_definition: service.revision().to_owned(),
        container,
        command,
    }))
}

/// While a stack is out of order, CloudFormation may leave its outputs out. That must not be taken
/// for a stack without a migration.
fn untold(status: &str) -> String {
    format!(
        "the stack is {status}, and CloudFormation tells no outputs of it. Bring the stack back in order, or give `\"migrate\": false` in the input to release without a migration"
    )
}

fn parse_command(output: &str) -> Result<Vec<String>, String> {
    match serde_json::from_str::<Vec<String>>(output) {
        Ok(command) if !command.is_empty() => Ok(command),
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
            .map(|service| (service, service.containers_of(repository)))
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
        for output in ["websvc migrate", "[]", "[1]", r#""websvc""#, "{}"] {
            assert!(parse_command(output).unwrap_err().contains(output));
        }
    }
}

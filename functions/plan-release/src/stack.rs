//! What CloudFormation knows of the app stack.

use crate::failure::Failure;
use aws_sdk_cloudformation::Client;
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::collections::HashMap;

const SERVICE_TYPE: &str = "AWS::ECS::Service";
/// A service in Express Mode: ECS makes its task definition and all around it by itself
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/express-service-work.html>).
const EXPRESS_TYPE: &str = "AWS::ECS::ExpressGatewayService";

/// A stack that nobody is changing.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// CloudFormation's own word, e.g. `UPDATE_COMPLETE`.
    pub(crate) status: String,
    pub(crate) outputs: HashMap<String, String>,
    /// What its template takes from the Parameter Store.
    pub(crate) stored: Vec<StoredParameter>,
    /// ARNs of its ECS services, in order.
    pub(crate) services: Vec<String>,
    /// ARNs of its services in Express Mode, in order.
    pub(crate) express_services: Vec<String>,
}

/// A parameter of the Parameter Store that is the value of a parameter of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredParameter {
    pub(crate) name: String,
    /// What it held when the stack was created or updated last.
    pub(crate) value: String,
}

impl Stack {
    pub(crate) async fn load(client: &Client, name: &str) -> Result<Self, Failure> {
        let (stack, services) = tokio::join!(describe(client, name), services(client, name));
        // Of a stack that is not there, the former says so.
        let stack = stack?;
        let (services, express_services) = services?;
        Ok(Stack {
            services,
            express_services,
            ..stack
        })
    }

    /// The value of an output, if it has one that is not blank.
    pub(crate) fn output(&self, name: &str) -> Option<&str> {
        let value = self.outputs.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty())
    }

    /// The failure of a service that cannot be released.
    pub(crate) fn unsupported(&self, service: &str, problem: &'static str) -> Failure {
        Failure::UnsupportedService {
            stack: self.name.clone(),
            service: service.to_owned(),
            problem,
        }
    }

    /// The failure of an output that cannot be used.
    pub(crate) fn invalid(&self, output: &'static str, problem: String) -> Failure {
        Failure::InvalidStackOutput {
            stack: self.name.clone(),
            output,
            problem,
        }
    }
}

/// The stack without its services.
async fn describe(client: &Client, name: &str) -> Result<Stack, Failure> {
    let answer = client
        .describe_stacks()
        .stack_name(name)
        .send()
        .await
        .map_err(failed("cloudformation:DescribeStacks", name))
        .map_err(|failure| match is_missing_stack(&failure) {
            true => not_found(name),
            false => failure.into(),
        })?;
    let stack = answer.stacks().first().ok_or_else(|| not_found(name))?;
    let status = stack
        .stack_status()
        .map_or("UNKNOWN", |status| status.as_str());
    if status.ends_with("_IN_PROGRESS") {
        return Err(Failure::StackBusy {
            stack: name.to_owned(),
            status: status.to_owned(),
        });
    }
    let outputs = stack.outputs().iter().filter_map(|output| {
        Some((
            output.output_key()?.to_owned(),
            output.output_value()?.to_owned(),
        ))
    });
    // Only the value of a parameter that is the name of another has been resolved.
    let stored = stack.parameters().iter().filter_map(|parameter| {
        Some(StoredParameter {
            name: parameter.parameter_value()?.to_owned(),
            value: parameter.resolved_value()?.to_owned(),
        })
    });
    Ok(Stack {
        name: name.to_owned(),
        status: status.to_owned(),
        outputs: outputs.collect(),
        stored: stored.collect(),
        services: vec![],
        express_services: vec![],
    })
}

fn not_found(name: &str) -> Failure {
    Failure::StackNotFound {
        stack: name.to_owned(),
    }
}

/// CloudFormation has no error code of its own for a stack that does not exist
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>).
fn is_missing_stack(failure: &AwsRequestFailed) -> bool {
    failure.code == "ValidationError" && failure.message.contains("does not exist")
}

/// The ARNs of the stack's services, and of those in Express Mode.
async fn services(
    client: &Client,
    name: &str,
) -> Result<(Vec<String>, Vec<String>), AwsRequestFailed> {
    let mut resources = Vec::new();
    let mut next_token = None;
    loop {
        let page = client
            .list_stack_resources()
            .stack_name(name)
            .set_next_token(next_token)
            .send()
            .await
            .map_err(failed("cloudformation:ListStackResources", name))?;
        resources.extend(page.stack_resource_summaries.unwrap_or_default());
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    let of_type = |wanted: &str| {
        let found = resources.iter();
        let mut found: Vec<String> = found
            .filter(|resource| resource.resource_type() == Some(wanted))
            .filter(|resource| {
                resource
                    .resource_status()
                    .is_none_or(|status| !is_gone(status.as_str()))
            })
            .filter_map(|resource| resource.physical_resource_id())
            .map(str::to_owned)
            .collect();
        found.sort();
        found
    };
    Ok((of_type(SERVICE_TYPE), of_type(EXPRESS_TYPE)))
}

/// The stack does not hold the resource any more; a skipped one was left to itself.
fn is_gone(status: &str) -> bool {
    matches!(status, "DELETE_COMPLETE" | "DELETE_SKIPPED")
}

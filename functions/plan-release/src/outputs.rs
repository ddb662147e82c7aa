//! What else the stack's outputs say: how long things may take, and where the application tells its
//! health.

use crate::failure::Failure;
use crate::stack::Stack;
use bluegreen_contract::{Limits, check_health_check_url};
use bluegreen_runtime::{BadEnvironment, Web};
use std::ops::RangeInclusive;

/// A time limit is no shorter than it takes to look twice.
const SHORTEST: u32 = 5;
const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;
const COMMAND: RangeInclusive<u32> = SHORTEST..=DAY;
const DEPLOYMENT: RangeInclusive<u32> = SHORTEST..=2 * DAY;
const WINDOW: RangeInclusive<u32> = 0..=7 * DAY;
/// Minutes.
const TARGETS: RangeInclusive<u32> = 0..=720;

const MIGRATION_TIMEOUT: &str = "MigrationTimeoutSeconds";
const DEPLOYMENT_TIMEOUT: &str = "DeploymentTimeoutSeconds";
const POST_DEPLOY_TIMEOUT: &str = "PostDeployTimeoutSeconds";
const CONTRACT_TIMEOUT: &str = "ContractTimeoutSeconds";
const ROLLBACK_WINDOW: &str = "RollbackWindowSeconds";
const TARGET_HEALTH: &str = "TargetHealthMinutes";
const HEALTH_CHECK_URL: &str = "HealthCheckUrl";

/// What the stack allows, or else the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) limits: Limits,
    pub(crate) post_deploy_seconds: u32,
    pub(crate) contract_seconds: u32,
}

/// What the pipeline allows where a stack says nothing, from the variables
/// `MIGRATION_TIMEOUT_SECONDS`, which goes for the other commands too,
/// `DEPLOYMENT_TIMEOUT_SECONDS`, `ROLLBACK_WINDOW_SECONDS` and `TARGET_HEALTH_MINUTES`.
///
/// # Errors
/// [`BadEnvironment`] where one is missing or not within the bounds of the stack's output.
pub(crate) fn defaults_from_env() -> Result<Limits, BadEnvironment> {
    let number = bluegreen_runtime::required_number;
    Ok(Limits {
        migration_seconds: number("MIGRATION_TIMEOUT_SECONDS", COMMAND)?,
        deployment_seconds: number("DEPLOYMENT_TIMEOUT_SECONDS", DEPLOYMENT)?,
        rollback_window_seconds: number("ROLLBACK_WINDOW_SECONDS", WINDOW)?,
        target_health_minutes: number("TARGET_HEALTH_MINUTES", TARGETS)?,
    })
}

/// # Errors
/// `InvalidStackOutput` for an output that is no number of seconds, or minutes, within its bounds.
pub(crate) fn allowed(stack: &Stack, defaults: &Limits) -> Result<Allowed, Failure> {
    let Limits {
        migration_seconds: command,
        deployment_seconds: deployment,
        rollback_window_seconds: window,
        target_health_minutes: targets,
    } = *defaults;
    Ok(Allowed {
        limits: Limits {
            migration_seconds: seconds(stack, MIGRATION_TIMEOUT, COMMAND)?.unwrap_or(command),
            deployment_seconds: seconds(stack, DEPLOYMENT_TIMEOUT, DEPLOYMENT)?
                .unwrap_or(deployment),
            rollback_window_seconds: seconds(stack, ROLLBACK_WINDOW, WINDOW)?.unwrap_or(window),
            target_health_minutes: number(stack, TARGET_HEALTH, TARGETS, "minutes")?
                .unwrap_or(targets),
        },
        post_deploy_seconds: seconds(stack, POST_DEPLOY_TIMEOUT, COMMAND)?.unwrap_or(command),
        contract_seconds: seconds(stack, CONTRACT_TIMEOUT, COMMAND)?.unwrap_or(command),
    })
}

fn seconds(
    stack: &Stack,
    output: &'static str,
    bounds: RangeInclusive<u32>,
) -> Result<Option<u32>, Failure> {
    number(stack, output, bounds, "seconds")
}

/// `None` where the stack has no such output.
///
/// # Errors
/// `InvalidStackOutput` for an output that is no number of these units within its bounds.
pub(crate) fn number(
    stack: &Stack,
    output: &'static str,
    bounds: RangeInclusive<u32>,
    units: &str,
) -> Result<Option<u32>, Failure> {
    let Some(text) = stack.output(output) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if bounds.contains(&number) => Ok(Some(number)),
        _ => Err(stack.invalid(
            output,
            format!(
                "`{text}` is not a number of {units} between {} and {}",
                bounds.start(),
                bounds.end()
            ),
        )),
    }
}

/// # Errors
/// `InvalidStackOutput` for an output that is no URL of HTTP, or has an address that is not of the internet.
pub(crate) fn health_check_url(stack: &Stack, web: &Web) -> Result<Option<String>, Failure> {
    let Some(url) = stack.output(HEALTH_CHECK_URL) else {
        return Ok(None);
    };
    let checked = check_health_check_url(url).and_then(|()| web.check(url));
    checked.map_err(|problem| stack.invalid(HEALTH_CHECK_URL, problem))?;
    Ok(Some(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(outputs: &[(&str, &str)]) -> Stack {
        Stack {
            name: "demo".to_owned(),
            status: "UPDATE_COMPLETE".to_owned(),
            outputs: outputs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            stored: vec![],
            services: vec![],
            express_services: vec![],
        }
    }

    fn health_check(outputs: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        health_check_url(&stack(outputs), &Web::beside("").unwrap())
    }

    const DEFAULTS: Limits = Limits {
        migration_seconds: 1800,
        deployment_seconds: 3600,
        rollback_window_seconds: 600,
        target_health_minutes: 10,
    };

    #[test]
    fn a_stack_that_says_nothing_leaves_every_limit_to_the_pipeline() {
        assert_eq!(
            allowed(&stack(&[]), &DEFAULTS).unwrap(),
            Allowed {
                limits: DEFAULTS,
                post_deploy_seconds: 1800,
                contract_seconds: 1800,
            }
        );
        assert_eq!(health_check(&[]).unwrap(), None);
        assert_eq!(health_check(&[(HEALTH_CHECK_URL, " ")]).unwrap(), None);
    }

    #[test]
    fn the_limits_are_the_stacks_up_to_their_bounds() {
        let lowest = stack(&[
            (MIGRATION_TIMEOUT, "5"),
            (DEPLOYMENT_TIMEOUT, "6"),
            (POST_DEPLOY_TIMEOUT, " 7 "),
            (CONTRACT_TIMEOUT, "8"),
            (ROLLBACK_WINDOW, "0"),
            (TARGET_HEALTH, "0"),
        ]);
        assert_eq!(
            allowed(&lowest, &DEFAULTS).unwrap(),
            Allowed {
                limits: Limits {
                    migration_seconds: 5,
                    deployment_seconds: 6,
                    rollback_window_seconds: 0,
                    target_health_minutes: 0,
                },
                post_deploy_seconds: 7,
                contract_seconds: 8,
            }
        );
        let highest = stack(&[
            (MIGRATION_TIMEOUT, "86400"),
            (DEPLOYMENT_TIMEOUT, "172800"),
            (POST_DEPLOY_TIMEOUT, "86400"),
            (CONTRACT_TIMEOUT, "86400"),
            (ROLLBACK_WINDOW, "604800"),
            (TARGET_HEALTH, "720"),
        ]);
        assert!(allowed(&highest, &DEFAULTS).is_ok());
    }

    #[test]
    fn the_limit_of_a_stacks_migration_is_not_that_of_its_other_commands() {
        let migration = stack(&[(MIGRATION_TIMEOUT, "60")]);
        let allowed = allowed(&migration, &DEFAULTS).unwrap();
        assert_eq!(allowed.post_deploy_seconds, 1800);
        assert_eq!(allowed.contract_seconds, 1800);
    }

    #[test]
    fn an_output_that_cannot_be_used_is_named_with_what_it_holds() {
        for (output, text) in [
            (MIGRATION_TIMEOUT, "4"),
            (MIGRATION_TIMEOUT, "86401"),
            (DEPLOYMENT_TIMEOUT, "172801"),
            (POST_DEPLOY_TIMEOUT, "1h"),
            (CONTRACT_TIMEOUT, "86401"),
            (ROLLBACK_WINDOW, "-1"),
            (ROLLBACK_WINDOW, "604801"),
            (TARGET_HEALTH, "721"),
        ] {
            let failure = allowed(&stack(&[(output, text)]), &DEFAULTS).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidStackOutput");
            for part in [output, text] {
                assert!(failure.to_string().contains(part), "{failure}");
            }
        }
        for (url, said) in [
            ("demo/health", "demo/health"),
            ("http://127.0.0.1:9001/", "127.0.0.1 is not an address"),
        ] {
            let failure = health_check(&[(HEALTH_CHECK_URL, url)]).unwrap_err();
            assert_eq!(<&str>::from(&failure), "InvalidStackOutput");
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }
}

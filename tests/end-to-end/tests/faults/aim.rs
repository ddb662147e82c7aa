//! How a disturbance is aimed at one state of one stack's release.

use anyhow::{Result, bail};
use end_to_end::account::Account;
use local_aws::client::{OpenFault, StaleReads};
use local_aws::faults::{CallFault, Fault, Moment};
use serde_json::{Value, json};

use crate::machine::{Does, State};
use crate::matrix::Disturbance;

/// What lies in wait for the execution.
#[derive(Debug)]
pub(crate) enum Armed<'a> {
    /// It strikes by itself.
    Fault(OpenFault<'a>),
    /// It holds the state's call, while something happens.
    Held(OpenFault<'a>),
    /// It is in every read from now on.
    Stale(StaleReads<'a>),
    /// Somebody has to watch the execution come to the state.
    Watched,
}

/// So often a call fails until a function gives up: an SDK tries three times.
const UNTIL_THE_FUNCTION_GIVES_UP: u64 = 3;

/// Arms a disturbance of a state. `other` is the execution that the state asks about, if it does.
pub(crate) async fn arm<'a>(
    account: &'a Account,
    stack: &str,
    state: &State,
    disturbance: &Disturbance,
    other: Option<&str>,
) -> Result<Armed<'a>> {
    use Disturbance::*;
    let aws = account.aws();
    if *disturbance == Stale {
        let lag = std::time::Duration::from_secs(2);
        return Ok(Armed::Stale(aws.read_late(lag).await?));
    }
    if state.does == Does::Wait {
        return Ok(Armed::Watched);
    }
    if disturbance.happens_meanwhile() {
        let held = call(stack, state, other)?.held().times(1);
        let held = match disturbance {
            AbortedAfter | Redriven => held.after_effect(),
            _ => held,
        };
        return Ok(Armed::Held(aws.fail(held).await?));
    }
    let fault: Fault = match disturbance {
        CrashBefore => of_function(stack, state, |name| {
            Fault::crash_of(name, Moment::BeforeItsWork)
        })?,
        CrashAfter => of_function(stack, state, |name| {
            Fault::crash_of(name, Moment::AfterItsWork)
        })?,
        TimeOutBefore => of_function(stack, state, |name| {
            Fault::time_out_of(name, Moment::BeforeItsWork)
        })?,
        TimeOutAfter => of_function(stack, state, |name| {
            Fault::time_out_of(name, Moment::AfterItsWork)
        })?,
        Throttled => match state.does {
            Does::Invoke { .. } => of_function(stack, state, Fault::throttling_of)?,
            _ => call(stack, state, other)?
                .with("ThrottlingException")
                .times(1)
                .into(),
        },
        Failed => call(stack, state, other)?
            .with("InternalServerError")
            .times(1)
            .into(),
        AnswerLost => {
            let lost = call(stack, state, other)?.with("InternalServerError");
            lost.after_effect().times(1).into()
        }
        Denied => {
            let error = match state.does {
                Does::Invoke { .. } => "ServiceException",
                _ => "AccessDeniedException",
            };
            call(stack, state, other)?.with(error).into()
        }
        CallThrottled(operation) => {
            let throttled = by_function(stack, state, operation)?.with("ThrottlingException");
            throttled.times(UNTIL_THE_FUNCTION_GIVES_UP).into()
        }
        CallFailed(operation) => {
            let failed = by_function(stack, state, operation)?.with("InternalFailure");
            failed.times(UNTIL_THE_FUNCTION_GIVES_UP).into()
        }
        CallAnswerLost(operation) => {
            let lost = by_function(stack, state, operation)?.with_closed_connection();
            lost.after_effect().times(1).into()
        }
        Stale | AbortedBefore | AbortedAfter | Redriven | EventTwice | EventLost | NewerPush
        | AlarmFires => bail!("{disturbance} is no fault"),
    };
    Ok(Armed::Fault(aws.fail(fault).await?))
}

/// The call that a state makes for a stack, and no other state does.
pub(crate) fn call(stack: &str, state: &State, other: Option<&str>) -> Result<CallFault> {
    let call = match &state.does {
        Does::Invoke { resource, .. } => {
            Fault::of("lambda", "Invoke").where_request_contains(json!({
                "FunctionName": format!("*{resource}*"),
                "Payload": payload(&state.name),
            }))
        }
        Does::Call {
            service, operation, ..
        } => Fault::of(service, operation).where_request_contains(parameters(&state.name, other)?),
        Does::Nothing | Does::Wait => bail!("state {} makes no call", state.name),
    };
    Ok(call.where_request_mentions(stack))
}

/// What tells the invocation of a state from that of another state that invokes the same function.
fn payload(state: &str) -> Value {
    match state {
        "VerifyHealth" => json!({"rollback": false}),
        "VerifyRollback" => json!({"rollback": true}),
        "RunMigration" => json!({"attempt": 0}),
        "RunPostDeploy" => json!({"attempt": 1000}),
        _ => json!({}),
    }
}

/// What tells the call of a state from the same call of other states.
fn parameters(state: &str, other: Option<&str>) -> Result<Value> {
    let turn = |update: &str, condition: &str| {
        json!({
            "Key": {"item": {"S": "turn"}},
            "UpdateExpression": update,
            "ConditionExpression": condition,
        })
    };
    let of_record =
        |update: &str| json!({"Key": {"item": {"S": "release#*"}}, "UpdateExpression": update});
    Ok(match state {
        "AskForTurn" => turn("SET waiting = :me*", "attribute_not_exists(waiting)*"),
        "ReplaceWaiting" => turn("SET waiting = :me*", "waiting = :ended"),
        "TakeTurn" => turn("SET holder = :me*", "attribute_not_exists(holder)*"),
        "TakeOver" => turn("SET holder = :me*", "holder = :ended*"),
        "MarkSettled" => turn("REMOVE unsettled*", "holder = :me"),
        "ConfirmTurn" => turn("SET heldSince = :now", "holder = :me"),
        "RecordCurrent" => turn("SET *currentRecord*", "holder = :me"),
        "GiveTurnBack" => turn("*REMOVE holder*", "holder = :me"),
        "RecordAbandoned" => json!({"ExpressionAttributeValues": {":verdict": {"S": "abandoned"}}}),
        "RecordRolledBack" => of_record("*rolledBackBy*"),
        "RecordMigration" => of_record("SET migration = *"),
        "RecordServices" => of_record("SET services = *"),
        "RecordVerdict" => of_record("SET #*"),
        "DescribeHolder" | "DescribeWaiting" => json!({"executionArn": other}),
        "StopMigration" => json!({"reason": "bluegreen: the migration *"}),
        "StopPostDeploy" => json!({"reason": "bluegreen: the post-deploy *"}),
        "FindReleases" => json!({"ProjectionExpression": "*"}),
        "ReadTurn" => json!({"Key": {"item": {"S": "turn"}}}),
        "ReadTarget" => json!({"Key": {"item": {"S": "release#*"}}}),
        "RecordRelease" | "CheckAlarms" | "VerifyAlarms" | "WriteImage" => json!({}),
        _ => bail!("nothing tells the call of state {state} from others"),
    })
}

/// States whose call is told from an earlier one on the same way by its being later: what is aimed
/// at them is armed while the call of this earlier state is held.
pub(crate) fn armed_at(state: &str) -> Option<&'static str> {
    Some(match state {
        "RunPostDeploy" | "VerifyAlarms" => "VerifyHealth",
        "WaitPostDeploy" | "CheckPostDeploy" => "RunPostDeploy",
        "VerifyRollback" => "RollBack",
        _ => return None,
    })
}

fn of_function(
    stack: &str,
    state: &State,
    fault: impl Fn(&str) -> local_aws::faults::InvocationFault,
) -> Result<Fault> {
    Ok(fault(&function(state)?)
        .where_event_mentions(stack)
        .times(1)
        .into())
}

/// A call that the state's function makes for a stack.
fn by_function(stack: &str, state: &State, operation: &str) -> Result<CallFault> {
    let Some((service, operation)) = operation.split_once(':') else {
        bail!("{operation} is no operation");
    };
    let fault = Fault::of(service, operation).by(&function(state)?);
    Ok(fault.where_request_mentions(stack))
}

fn function(state: &State) -> Result<String> {
    match &state.does {
        Does::Invoke { resource, .. } => Ok(format!("*{resource}*")),
        _ => bail!("state {} invokes no function", state.name),
    }
}

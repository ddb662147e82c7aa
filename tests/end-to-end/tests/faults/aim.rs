//! How a disturbance is aimed at one state of one stack's release.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use end_to_end::account::Account;
use end_to_end::application::Application;
use local_aws::client::{ACCOUNT, OpenFault, REGION, StaleReads};
use local_aws::event_faults::EventFault;
use local_aws::faults::{CallFault, Fault, Moment};
use serde_json::{Value, json};

use crate::laboratory::{HEARTBEAT, SPEED};
use crate::machine::{Does, State, TRANSACTION};
use crate::matrix::Disturbance;
use crate::stand::Stand;
use crate::way::Way;

/// What lies in wait for the execution.
#[derive(Debug)]
pub(crate) enum Armed<'a> {
    /// It strikes by itself.
    Fault(OpenFault<'a>),
    /// It holds the state's call, while something happens.
    Held(OpenFault<'a>),
    /// It keeps the token from being stored, until the event that ends the wait has come.
    HeldStore(OpenFault<'a>),
    /// It strikes the event that ends the wait.
    Event(EventFault<'a>),
    /// It is in every read from now on.
    Stale(StaleReads<'a>),
}

/// So often a call fails until a function gives up: an SDK tries three times.
const UNTIL_THE_FUNCTION_GIVES_UP: u64 = 3;
/// A call to which the connection was lost goes on while Step Functions calls again, which it does
/// within a second of the local AWS's time.
const LATE_BY: Duration = Duration::from_millis(100);
/// More events than a release has.
const ALL: usize = 100;

/// Arms a disturbance of a state, on this way to it.
pub(crate) async fn arm<'a>(
    account: &'a Account,
    stand: &Stand,
    way: Way,
    state: &State,
    disturbance: &Disturbance,
) -> Result<Armed<'a>> {
    use Disturbance::*;
    let aws = account.aws();
    let stack = stand.name.as_str();
    if disturbance.happens_meanwhile() {
        let held = call(stack, way, state)?.held().times(1);
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
        ConnectionLost => {
            let lost = call(stack, way, state)?.with("ServiceException").times(1);
            lost.carried_out_after(LATE_BY).into()
        }
        Throttled => of_function(stack, state, Fault::throttling_of)?,
        // What Step Functions calls the refusal of a function that it may not invoke.
        Denied => {
            let denied = call(stack, way, state)?.with("AWSLambdaException");
            let message = "is not authorized to perform: lambda:InvokeFunction";
            denied.worded(403, message).into()
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
        Conflict => {
            let conflict = by_function(stack, state, TRANSACTION)?;
            conflict
                .cancelling(&["TransactionConflict"])
                .times(1)
                .into()
        }
        ConditionFailed => {
            let failed = by_function(stack, state, TRANSACTION)?;
            failed
                .cancelling(&["ConditionalCheckFailed"])
                .times(1)
                .into()
        }
        Stale => {
            let stale = aws.read_late(Duration::from_secs(2)).await?;
            return Ok(Armed::Stale(stale));
        }
        EndHeardEarly => {
            let store = by_function(stack, state, "dynamodb:PutItem")?;
            let held = aws.fail(store.held().times(1)).await?;
            return Ok(Armed::HeldStore(held));
        }
        EndUnheard | EndHeardLate | EndHeardTwice => {
            let application = stand.application(account).await?;
            let ends = aws.events().matching(end_of(&application, state)?);
            let struck = match disturbance {
                EndUnheard => ends.lose(ALL).await?,
                EndHeardTwice => ends.deliver_twice(ALL).await?,
                // In the time of the local AWS, which passes faster.
                _ => {
                    ends.deliver_late(ALL, HEARTBEAT.mul_f64(2.0 * SPEED))
                        .await?
                }
            };
            return Ok(Armed::Event(struck));
        }
        AbortedBefore | AbortedAfter | Redriven | EventTwice | EventLost | NewerPush
        | AlarmFires => bail!("{disturbance} is no fault"),
    };
    Ok(Armed::Fault(aws.fail(fault).await?))
}

/// The events that tell a state that its wait is over.
fn end_of(application: &Application<'_>, state: &State) -> Result<Value> {
    let stack = application.name();
    Ok(match state.name.as_str() {
        "TakeTurn" => json!({
            "source": ["aws.states"],
            "detail": {"status": ["ABORTED"], "name": [{"prefix": format!("{stack}-")}]},
        }),
        "WaitTask" | "WaitPostDeploy" | "SettleRelease" => json!({
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {"lastStatus": ["STOPPED"], "startedBy": [format!("bluegreen/{stack}")]},
        }),
        "VerifyHealth" | "VerifyRollback" => {
            let cluster = application.cluster();
            let services: Vec<_> = application
                .services()
                .map(|it| format!("arn:aws:ecs:{REGION}:{ACCOUNT}:service/{cluster}/{it}"))
                .collect();
            let over = ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"];
            json!({
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": services,
                "detail": {"eventName": over},
            })
        }
        other => bail!("no event ends a wait of {other}"),
    })
}

/// The invocation that a state makes for a stack on this way, and no other state does.
pub(crate) fn call(stack: &str, way: Way, state: &State) -> Result<CallFault> {
    let call = Fault::of("lambda", "Invoke").where_request_contains(json!({
        "FunctionName": function(state)?,
        "Payload": payload(&state.name, way.command_afterwards()),
    }));
    Ok(call.where_request_mentions(stack))
}

/// What tells the invocation of a state from that of another state that invokes the same function,
/// and from one by an event. `afterwards` is what the command is for after the deployment.
fn payload(state: &str, afterwards: &str) -> Value {
    match state {
        "PlanRelease" => json!({"turn": null}),
        "PlanInTurn" => json!({"turn": {}}),
        "RunMigration" => json!({"command": {"purpose": "migration"}}),
        "RunPostDeploy" => json!({"command": {"purpose": afterwards}}),
        "WaitTask" => json!({"asked": {"task": {"purpose": "migration"}}}),
        "WaitPostDeploy" => json!({"asked": {"task": {"purpose": afterwards}}}),
        "CheckExitCode" => json!({"task": {"purpose": "migration"}}),
        "CheckPostDeploy" => json!({"task": {"purpose": afterwards}}),
        "VerifyHealth" => json!({"asked": {"rollback": false}}),
        "VerifyRollback" => json!({"asked": {"rollback": true}}),
        "TakeTurn" | "SettleRelease" => json!({"asked": {}}),
        _ => json!({}),
    }
}

/// States whose function's invocations and calls are told from those for an earlier state on the same
/// way by their being later: what is aimed at them is armed while the call of this earlier state is
/// held.
pub(crate) fn armed_at(way: Way, state: &str) -> Option<&'static str> {
    Some(match state {
        "PlanInTurn" => "TakeTurn",
        "RunPostDeploy" if way == Way::Contracts => "PlanInTurn",
        "RunPostDeploy" => "RecordCurrent",
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

/// A call that the state's function makes for a stack. Of an answered token nobody can tell for
/// whom it was; of the transactions only those are meant that change the table of releases.
pub(crate) fn by_function(stack: &str, state: &State, operation: &str) -> Result<CallFault> {
    let (service, name) = operation.split_once(':').context("it is no operation")?;
    let fault = Fault::of(service, name).by(&function(state)?);
    if name.starts_with("SendTask") {
        return Ok(fault);
    }
    let fault = match operation {
        TRANSACTION => fault.where_request_contains(json!({"TransactItems": [{"Update": {}}]})),
        _ => fault,
    };
    Ok(fault.where_request_mentions(stack))
}

fn function(state: &State) -> Result<String> {
    match &state.does {
        Does::Invoke { resource, .. } => Ok(format!("*{resource}*")),
        Does::Nothing => bail!("state {} invokes no function", state.name),
    }
}

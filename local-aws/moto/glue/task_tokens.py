"""Step Functions: tasks that wait until somebody answers their token.

Holes in moto 5.2.5: a token is looked for in every execution and, once answered, taken for
malformed; every error of the three SendTask operations lacks its code, and the cause of a failure
is dropped; a retry has the token of the attempt before it; a heartbeat that stays out is
`States.Timeout`; a task with a heartbeat and without a timeout ends after a minute; an aborted
execution goes on waiting; a task is not over before its call is, though its token was answered.
Activities' tokens are not known here.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

import base64
import copy
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import ValidationException
from moto.stepfunctions.parser.api import (
    HistoryEventExecutionDataDetails,
    HistoryEventType,
    TaskSubmittedEventDetails,
    TaskTimedOutEventDetails,
)
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import (
    ErrorEqualsDecl,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.common.timeouts.heartbeat import (
    HeartbeatSecondsJSONata,
)
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import (
    EvalTimeoutError,
    Timeout,
    TimeoutSeconds,
    TimeoutSecondsJSONata,
)
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
    StateTaskService,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.state_props import StateProps
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackOutcomeFailure,
    CallbackOutcomeFailureError,
    HeartbeatTimeoutError,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.states import TaskData
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.responses import StepFunctionResponse

from glue import jsonata_evaluator
from glue.step_functions import InvalidToken

#: What AWS's tokens begin with, and so many random bytes that they are about as long. Here the ARN
#: of the state machine comes behind: whoever checks permissions has to know it.
TOKEN_HEADER = bytes.fromhex("0000002a000000020000000000000001")
TOKEN_RANDOM_BYTES = 400

OUTPUT_LIMIT = 262_144
ERROR_LIMIT = 256
CAUSE_LIMIT = 32_768

LONGEST_SECONDS = TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS

HEARTBEAT_TIMEOUT = StatesErrorName(typ=StatesErrorNameType.StatesHeartbeatTimeout)
TIMEOUT = StatesErrorName(typ=StatesErrorNameType.StatesTimeout)


class TaskDoesNotExist(AWSError):
    """A token as Step Functions makes them, but not one of these."""

    TYPE = "TaskDoesNotExist"
    STATUS = 400


class TaskTimedOut(AWSError):
    """A token that was answered, or whose attempt, state or execution is over."""

    TYPE = "TaskTimedOut"
    STATUS = 400


class InvalidOutput(AWSError):
    """The output is no JSON."""

    TYPE = "InvalidOutput"
    STATUS = 400


#: How a wait ends: gives the task's result, or raises why there is none.
Outcome = Callable[[], Any]


def _raising(error: Exception) -> Outcome:
    def outcome() -> Any:
        raise error

    return outcome


class Wait:
    """One attempt of a task, until its token is answered or its time is up."""

    def __init__(self, machine: str) -> None:
        token = TOKEN_HEADER + os.urandom(TOKEN_RANDOM_BYTES) + machine.encode()
        self.token = base64.b64encode(token).decode()
        self._changed = threading.Condition()
        self._outcome: Outcome | None = None
        #: What the call answered, in a list as long as nobody has taken note of it.
        self._submitted: list[Any] = []
        self._last_heartbeat: float | None = None

    def settle(self, outcome: Outcome) -> bool:
        """Ends the wait, unless something has ended it before."""
        with self._changed:
            if self._outcome is not None:
                return False
            self._outcome = outcome
            self._changed.notify_all()
            return True

    def beat(self) -> bool:
        """Takes a heartbeat, unless the wait is over."""
        with self._changed:
            if self._outcome is not None:
                return False
            self._last_heartbeat = time.monotonic()
            self._changed.notify_all()
            return True

    def submitted(self, answer: Any) -> None:
        """The call that has the token has been answered: heartbeats count from here."""
        with self._changed:
            self._submitted.append(answer)
            self._last_heartbeat = self._last_heartbeat or time.monotonic()
            self._changed.notify_all()

    def outcome(
        self, timeout: float, heartbeat: float | None, note: Callable[[Any], None]
    ) -> Outcome:
        """Waits; `note` is told what the call has answered, if that comes first.

        Whether an answer to the token or the end of its time came first is settled under one
        lock, so that an answer that was taken always counts.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._outcome is None:
                while self._submitted:
                    note(self._submitted.pop())
                ends: list[tuple[float, Exception]] = [(deadline, EvalTimeoutError())]
                if heartbeat is not None and self._last_heartbeat is not None:
                    ends.append((self._last_heartbeat + heartbeat, HeartbeatTimeoutError()))
                end, error = min(ends, key=lambda one: one[0])
                left = end - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                else:
                    self._outcome = _raising(error)
            return self._outcome


#: All that were ever issued, by token.
_waits: dict[str, Wait] = {}


def _issue(env: Environment) -> Wait:
    """A wait that ends with its environment, at the latest."""
    context = env.states.context_object.context_object_data
    wait = Wait(context["StateMachine"]["Id"])
    _waits[wait.token] = wait
    env.waits_for_token = wait
    context["Task"] = TaskData(Token=wait.token)
    return wait


# The API.


def _wait_of(token: str) -> Wait:
    try:
        known = base64.b64decode(token, validate=True).startswith(TOKEN_HEADER)
    except ValueError:
        known = False
    if not known:
        raise InvalidToken("Invalid Token: 'Invalid token'")
    if token not in _waits:
        raise TaskDoesNotExist("Task does not exist")
    return _waits[token]


def _taken(taken: bool) -> ActionResult:
    if not taken:
        raise TaskTimedOut("Task Timed Out: 'Provided task does not exist anymore'")
    return EmptyResult()


def _check_length(name: str, value: str | None, limit: int) -> None:
    if value is not None and len(value) > limit:
        raise ValidationException(
            f"1 validation error detected: Value at '{name}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limit}"
        )


def _answer_requests() -> None:
    def send_task_success(self: StepFunctionResponse) -> ActionResult:
        output = self._get_param("output")
        _check_length("output", output, OUTPUT_LIMIT)
        wait = _wait_of(self._get_param("taskToken"))
        try:
            result = json.loads(output)
        except (TypeError, ValueError) as error:
            raise InvalidOutput(f"Invalid Output: '{error}'") from error
        return _taken(wait.settle(lambda: result))

    def send_task_failure(self: StepFunctionResponse) -> ActionResult:
        token, error = self._get_param("taskToken"), self._get_param("error")
        cause = self._get_param("cause")
        _check_length("error", error, ERROR_LIMIT)
        _check_length("cause", cause, CAUSE_LIMIT)
        failure = CallbackOutcomeFailure(callback_id=token, error=error, cause=cause)
        return _taken(_wait_of(token).settle(_raising(CallbackOutcomeFailureError(failure))))

    def send_task_heartbeat(self: StepFunctionResponse) -> ActionResult:
        return _taken(_wait_of(self._get_param("taskToken")).beat())

    StepFunctionResponse.send_task_success = send_task_success
    StepFunctionResponse.send_task_failure = send_task_failure
    StepFunctionResponse.send_task_heartbeat = send_task_heartbeat


# The interpreter.


def _waits_for_token(task: StateTaskServiceCallback) -> bool:
    return task.resource.condition == ResourceCondition.WaitForTaskToken


def _call(task: StateTaskServiceCallback, wait: Wait, env: Environment, **request: Any) -> None:
    """Makes the task's call; a call that fails is the end of the wait."""
    # The call leaves its answer on the stack, which the thread that waits has, too.
    calling = copy.copy(env)
    calling.stack = []
    try:
        task._eval_service_task(env=calling, **request)
        answer = calling.stack.pop()
        task._normalise_response(answer)
    except Exception as error:  # as those of calls that nobody waits for
        wait.settle(_raising(error))
    else:
        wait.submitted(answer)


def _execute_waiting(task: StateTaskServiceCallback, env: Environment) -> None:
    """One attempt; what it gives is on the stack."""
    task.resource.eval(env=env)
    part = env.stack.pop()
    wait = _issue(env)
    parameters = task._eval_parameters(env=env)
    credentials = task._eval_state_credentials(env=env)
    task._before_eval_execution(
        env=env,
        resource_runtime_part=part,
        raw_parameters=parameters,
        state_credentials=credentials,
    )
    timeout, heartbeat = _seconds(task.timeout, env), _seconds(task.heartbeat, env)
    request = {
        "resource_runtime_part": part,
        "normalised_parameters": copy.deepcopy(parameters),
        "state_credentials": credentials,
    }
    task._normalise_parameters(request["normalised_parameters"])
    threading.Thread(
        target=_call, args=(task, wait, env), kwargs=request, daemon=True
    ).start()

    def note(answer: Any) -> None:
        details = TaskSubmittedEventDetails(
            resource=task._get_sfn_resource(),
            resourceType=task._get_sfn_resource_type(),
            output=to_json_str(answer),
            outputDetails=HistoryEventExecutionDataDetails(truncated=False),
        )
        env.event_manager.add_event(
            context=env.event_history_context,
            event_type=HistoryEventType.TaskSubmitted,
            event_details=EventDetails(taskSubmittedEventDetails=details),
        )

    env.stack.append(wait.outcome(timeout, heartbeat, note)())
    if env.is_running():
        # Past the class that would have waited, as moto does.
        StateTaskService._after_eval_execution(task, env=env, **request)


def _seconds(component: Any, env: Environment) -> float | None:
    if component is None:
        return None
    component.eval(env=env)
    return env.stack.pop()


def _wait_in_tasks() -> None:
    Task = StateTaskServiceCallback
    body, evaluate, from_error = Task._eval_body, Task._evaluate_with_timeout, Task._from_error

    def eval_body(self: StateTaskServiceCallback, env: Environment) -> None:
        if _waits_for_token(self):
            self._assert_integration_pattern_is_supported()
            StateTaskService._eval_body(self, env=env)
        else:
            body(self, env=env)

    def evaluate_with_timeout(self: StateTaskServiceCallback, env: Environment) -> None:
        if not _waits_for_token(self):
            evaluate(self, env)
            return
        frame = env.open_frame()
        frame.states.reset(input_value=env.states.get_input())
        frame.stack = copy.deepcopy(env.stack)
        try:
            _execute_waiting(self, frame)
        finally:
            frame.set_ended()
            env.close_frame(frame)
        if not env.is_running():
            return
        # From here on as tasks that do not wait.
        result = frame.stack.pop()
        env.stack.append(result)
        if not self._is_language_query_jsonpath():
            env.states.set_result(result)
        if self.assign_decl:
            self.assign_decl.eval(env=env)
        if self.result_selector:
            self.result_selector.eval(env=env)
        self.result_path.eval(env)

    def named(self: StateTaskServiceCallback, env: Environment, ex: Exception) -> FailureEvent:
        if not isinstance(ex, HeartbeatTimeoutError):
            return from_error(self, env=env, ex=ex)
        details = TaskTimedOutEventDetails(
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
            error=HEARTBEAT_TIMEOUT.error_name,
        )
        return FailureEvent(
            env=env,
            error_name=HEARTBEAT_TIMEOUT,
            event_type=HistoryEventType.TaskTimedOut,
            event_details=EventDetails(taskTimedOutEventDetails=details),
        )

    Task._eval_body = eval_body
    Task._evaluate_with_timeout = evaluate_with_timeout
    Task._from_error = named


def _end_waits_with_environments() -> None:
    """Nobody waits in an execution, an attempt or a branch that is over."""

    def ending(change: Callable[..., None]) -> Callable[..., None]:
        def change_and_wake(self: Environment, *arguments: Any, **keywords: Any) -> None:
            change(self, *arguments, **keywords)
            wait = getattr(self, "waits_for_token", None)
            if wait is not None:
                wait.settle(lambda: None)

        return change_and_wake

    for name in ("set_ended", "set_error", "set_timed_out", "set_stop"):
        setattr(Environment, name, ending(getattr(Environment, name)))


def _match_errors() -> None:
    """`States.Timeout` is also the name of a heartbeat that stayed out."""
    equals = ErrorEqualsDecl._eval_body

    def eval_body(self: ErrorEqualsDecl, env: Environment) -> None:
        error = env.stack[-1]
        equals(self, env)
        if error == HEARTBEAT_TIMEOUT and TIMEOUT in self.error_names:
            env.stack[-1] = True

    ErrorEqualsDecl._eval_body = eval_body


def _limit_time() -> None:
    from_state_props = ExecutionState.from_state_props

    def without_default(self: ExecutionState, state_props: StateProps) -> None:
        from_state_props(self, state_props)
        if state_props.get(Timeout) is None:
            self.timeout = TimeoutSeconds(timeout_seconds=LONGEST_SECONDS)

    def checked(field: str) -> Callable[[Any, Environment], int]:
        def eval_seconds(self: Any, env: Environment) -> int:
            self.string_jsonata.eval(env=env)
            seconds = env.stack.pop()
            if type(seconds) is not int or not 0 < seconds <= LONGEST_SECONDS:
                raise jsonata_evaluator.failure(
                    env,
                    f"The JSONata expression '{self.string_jsonata.expression}' specified for the "
                    f"field '{field}' returned {seconds!r}, which is no integer from 1 to "
                    f"{LONGEST_SECONDS}.",
                )
            return seconds

        return eval_seconds

    ExecutionState.from_state_props = without_default
    TimeoutSecondsJSONata._eval_seconds = checked("TimeoutSeconds")
    HeartbeatSecondsJSONata._eval_seconds = checked("HeartbeatSeconds")


def install() -> None:
    """Lets tasks wait for their tokens."""
    _answer_requests()
    _wait_in_tasks()
    _end_waits_with_environments()
    _match_errors()
    _limit_time()

"""Step Functions: how executions begin and end, and what EventBridge is told of it.

Holes in moto 5.2.5: an execution without a name gets none, two that begin at once may have the
same, and bad names and inputs are taken; StopExecution forgets error and cause, takes effect only
when the running task has ended, not at all where that fails or the execution has only just begun,
and what that task still does is in the history behind the end; no event tells of a change of
status; every execution keeps a thread that only waits for another one; each failure writes the
whole program to standard error, once for every component that it comes by.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.stepfunctions.exceptions import InvalidExecutionInput
from moto.stepfunctions.parser.api import (
    ExecutionAbortedEventDetails,
    ExecutionFailedEventDetails,
    ExecutionStartedEventDetails,
    ExecutionStatus,
    ExecutionTimedOutEventDetails,
    HistoryEventExecutionDataDetails,
    HistoryEventType,
    StateMachineType,
)
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning, ProgramStopped
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import (
    BaseExecutionWorkerCommunication,
    Execution,
)
from moto.stepfunctions.parser.backend.execution_worker import (
    ExecutionWorker,
    SyncExecutionWorker,
)
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from glue import aws_events, execution_logs

SOURCE = "aws.states"
STATUS_CHANGE = "Step Functions Execution Status Change"

#: How much of input and output an event has room for.
EVENT_PAYLOAD_BYTES = 248 * 1024

REDRIVABLE = (ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)

#: Held while a status changes and its event goes out, so that events come in the statuses' order.
_lock = threading.RLock()


# Status.


def changing() -> threading.RLock:
    """Holds off every other change of an execution's status, in a `with` block."""
    return _lock


def begin(execution: Execution, worker: ExecutionWorker) -> None:
    """Lets `worker` run the execution, from its beginning or from where it ended."""
    with _lock:
        execution.exec_worker, execution.exec_status = worker, ExecutionStatus.RUNNING
        execution.stop_date = execution.error = execution.cause = None
        _tell(execution)
    worker.start()


def redrive_status(execution: Execution) -> dict[str, Any]:
    """What DescribeExecution and events say of redrives."""
    status = execution.exec_status
    redrivable = status in REDRIVABLE
    return {
        "redriveCount": getattr(execution, "redrive_count", 0),
        "redriveDate": getattr(execution, "redrive_date", None),
        "redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",
        "redriveStatusReason": (
            None if redrivable else f"Execution is {status.value} and cannot be redriven"
        ),
    }


def output_of(execution: Execution) -> str | None:
    """The output as its API shows it."""
    if execution.exec_status != ExecutionStatus.SUCCEEDED:
        return None
    return json.dumps(execution.output, ensure_ascii=False)


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _tell(execution: Execution) -> None:
    """Emits the event of a change of status; express executions have none."""
    if execution.state_machine.type == StateMachineType.EXPRESS:
        return
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": execution.exec_status.value,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date),
        **_payload(execution.execution_input, output_of(execution)),
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        **redrive_status(execution),
        "error": execution.error,
        "cause": execution.cause,
    }
    detail["redriveDate"] = _milliseconds(detail["redriveDate"])
    account, region = execution.account_id, execution.region_name
    aws_events.emit(account, region, SOURCE, STATUS_CHANGE, [execution.exec_arn], detail)


def _payload(input_data: str, output: str | None) -> dict[str, Any]:
    """Input and output, as far as there is room for them: the output goes first."""
    output_size = 0 if output is None else len(json.dumps(output))
    with_output = output is not None and output_size <= EVENT_PAYLOAD_BYTES
    with_input = len(json.dumps(input_data)) + output_size <= EVENT_PAYLOAD_BYTES
    return {
        "input": input_data if with_input else None,
        "inputDetails": {"included": with_input},
        "output": output if with_output else None,
        "outputDetails": None if output is None else {"included": with_output},
    }


# The API.


def _check_starts() -> None:
    start_execution = StepFunctionsParserBackend.start_execution

    def start(
        self: StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        *arguments: Any,
        **keywords: Any,
    ) -> Any:
        name = name or str(uuid.uuid4())
        self._validate_name(name)
        execution_input = execution_input or "{}"
        try:
            json.loads(execution_input)
        except ValueError as error:
            raise InvalidExecutionInput(
                f"Invalid State Machine Execution Input: '{error}'"
            ) from error
        with _lock:
            return start_execution(
                self, state_machine_arn, name, execution_input, *arguments, **keywords
            )

    StepFunctionsParserBackend.start_execution = start


def _change_status_at_once() -> None:
    def start(self: Execution) -> None:
        self._cloud_watch_logging_session = execution_logs.session(self)
        begin(self, self._get_start_execution_worker())

    def stop(
        self: Execution, stop_date: datetime, error: str | None, cause: str | None
    ) -> None:
        with _lock:
            if self.exec_status != ExecutionStatus.RUNNING:
                return
            self.exec_worker.stop(stop_date=stop_date, error=error, cause=cause)
            self.exec_status = ExecutionStatus.ABORTED
            self.stop_date, self.error, self.cause = stop_date, error, cause
            _tell(self)

    def terminated(self: BaseExecutionWorkerCommunication) -> None:
        execution = self.execution
        with _lock:
            # A worker that was stopped may end after a redrive has begun.
            current = execution.exec_worker._execution_communication is self
            if current and execution.exec_status == ExecutionStatus.RUNNING:
                self._reflect_execution_status()
                _tell(execution)

    def stop_execution(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(
            self._get_param("executionArn")
        )
        execution.stop(utcnow(), self._get_param("error"), self._get_param("cause"))
        return ActionResult({"stopDate": execution.stop_date})

    Execution.start = start
    Execution.stop = stop
    BaseExecutionWorkerCommunication.terminated = terminated
    StepFunctionResponse.stop_execution = stop_execution


# The interpreter.


def _run_workers() -> None:
    """A worker has its environment from the beginning, so that it can be stopped at any time."""

    def first_event(self: ExecutionWorker) -> None:
        details = ExecutionStartedEventDetails(
            input=to_json_str(self._evaluation_details.execution_details.inpt),
            inputDetails=HistoryEventExecutionDataDetails(truncated=False),
            roleArn=self._evaluation_details.aws_execution_details.role_arn,
        )
        self.env.event_manager.add_event(
            context=self.env.event_history_context,
            event_type=HistoryEventType.ExecutionStarted,
            event_details=EventDetails(executionStartedEventDetails=details),
            update_source_event_id=False,
        )

    def prepare(self: ExecutionWorker) -> None:
        self.env = self._get_evaluation_environment()
        self.env._program_state = ProgramRunning()
        self.first_event()

    def execution_logic(self: ExecutionWorker) -> None:
        self._get_evaluation_entrypoint().eval(self.env)
        self._execution_communication.terminated()

    def start(self: ExecutionWorker) -> None:
        prepare(self)
        threading.Thread(target=self._execution_logic, daemon=True).start()

    def start_and_wait(self: SyncExecutionWorker) -> None:
        prepare(self)
        self._execution_logic()

    def stop(
        self: ExecutionWorker, stop_date: datetime, error: str | None, cause: str | None
    ) -> None:
        self.env.set_stop(stop_date=stop_date, cause=cause, error=error)
        details = ExecutionAbortedEventDetails(error=error, cause=cause)
        self.env.event_history_context.source_event_id = 0
        self.env.event_manager.add_event(
            context=self.env.event_history_context,
            event_type=HistoryEventType.ExecutionAborted,
            event_details=EventDetails(executionAbortedEventDetails=details),
        )

    ExecutionWorker.first_event = first_event
    ExecutionWorker._execution_logic = execution_logic
    ExecutionWorker.start = start
    ExecutionWorker.stop = stop
    SyncExecutionWorker.start = start_and_wait


def _run_programs() -> None:
    """A program runs in the thread that runs it, unless it has to end in time."""

    def run(self: Program, env: Environment) -> None:
        with env._state_mutex:
            if env.is_running():
                env.next_state_name = self.start_at.start_at_name
        if self.timeout_seconds is None:
            EvalComponent.eval(self, env)
            return
        thread = threading.Thread(target=EvalComponent.eval, args=(self, env), daemon=True)
        thread.start()
        thread.join(timeout=self.timeout_seconds.timeout_seconds)
        if thread.is_alive() and env.is_running():
            env.set_timed_out()
            details = ExecutionTimedOutEventDetails()
            env.event_manager.add_event(
                context=env.event_history_context,
                event_type=HistoryEventType.ExecutionTimedOut,
                event_details=EventDetails(executionTimedOutEventDetails=details),
            )

    set_error = Environment.set_error

    def set_error_unless_stopped(self: Environment, error: ExecutionFailedEventDetails) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    Program.eval = run
    EvalComponent._log_failure_event_exception = lambda *_, **__: None
    Environment.set_error = set_error_unless_stopped


def _end_histories() -> None:
    publish: Callable[..., None] = EventManager._publish_history_event

    def publish_until_the_end(
        self: EventManager, event_id: int, source_event_id: int, **event: Any
    ) -> None:
        if getattr(self, "is_over", False):
            return
        self.is_over = event["event_type"] in execution_logs.LAST_EVENTS
        publish(self, event_id=event_id, source_event_id=source_event_id, **event)

    EventManager._publish_history_event = publish_until_the_end


def install() -> None:
    """Completes the life of executions."""
    _check_starts()
    _change_status_at_once()
    _run_workers()
    _run_programs()
    _end_histories()

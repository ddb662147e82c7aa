"""Step Functions: an execution that did not succeed goes on from the state in which it ended.

Hole in moto 5.2.5: RedriveExecution is missing, and with it `RedriveCount` and `RedriveTime` in the
context object.

An execution goes on with the variables and the input that its last state had. A Fail state is
entered again, and fails again.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import copy
import json
from collections.abc import Callable

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.responses import StepFunctionResponse

from glue import execution_logs, executions


class ExecutionNotRedrivable(AWSError):
    """The error of RedriveExecution, with its code."""

    TYPE = "ExecutionNotRedrivable"
    STATUS = 400


class RedrivenWorker(ExecutionWorker):
    """Goes on where the execution ended."""

    def __init__(self, execution: Execution) -> None:
        ended = execution.exec_worker
        execution._cloud_watch_logging_session = execution_logs.session(execution)
        super().__init__(
            ended._evaluation_details,
            execution._get_start_execution_worker_comm(),
            execution._cloud_watch_logging_session,
            execution._activity_store,
        )
        self._execution = execution
        # A call that was under way when the execution ended may still assign its answer, and say
        # so in the history.
        self._variables = copy.deepcopy(ended.env.variable_store)
        self._history = _continued(ended.env.event_manager, self._cloud_watch_logging_session)
        entered = [
            event["stateEnteredEventDetails"]
            for event in self._history.get_event_history()
            if "stateEnteredEventDetails" in event
        ]
        #: The state and its input; None where the execution ended before it entered one.
        self._state: dict[str, str] | None = entered[-1] if entered else None

    def _get_evaluation_entrypoint(self) -> EvalComponent:
        program = super()._get_evaluation_entrypoint()
        if self._state:
            program.start_at.start_at_name = self._state["name"]
        return program

    def _get_evaluation_environment(self) -> Environment:
        environment = super()._get_evaluation_environment()
        environment.variable_store = self._variables
        environment.event_manager = self._history
        context = environment.states.context_object.context_object_data
        context["Execution"]["RedriveCount"] = self._execution.redrive_count
        context["Execution"]["RedriveTime"] = self._execution.redrive_date
        if self._state:
            environment.states.reset(json.loads(self._state["input"]))
        return environment

    def first_event(self) -> None:
        details = {"redriveCount": self._execution.redrive_count}
        self.env.event_manager.add_event(
            context=self.env.event_history_context,
            event_type=HistoryEventType.ExecutionRedriven,
            event_details=EventDetails(executionRedrivenEventDetails=details),
            update_source_event_id=False,
        )


def _continued(ended: EventManager, log: execution_logs.Session | None) -> EventManager:
    """The history with all that it has, for what comes now."""
    history, events = EventManager(log), ended.get_event_history()
    history._history_event_list.extend(events)
    history._event_id_gen._next_id = events[-1]["id"] + 1
    return history


def _redrive(execution: Execution) -> None:
    with executions.changing():
        if execution.exec_status not in executions.REDRIVABLE:
            raise ExecutionNotRedrivable(
                f"Execution {execution.exec_arn} is {execution.exec_status.value}: only an "
                "execution that failed, timed out or was aborted can be redriven."
            )
        execution.redrive_count = getattr(execution, "redrive_count", 0) + 1
        execution.redrive_date = utcnow()
        executions.begin(execution, RedrivenWorker(execution))


def _count_redrives() -> None:
    environment: Callable[..., Environment] = ExecutionWorker._get_evaluation_environment

    def with_count(self: ExecutionWorker) -> Environment:
        made = environment(self)
        context = made.states.context_object.context_object_data
        context["Execution"]["RedriveCount"] = 0
        return made

    ExecutionWorker._get_evaluation_environment = with_count


def _answer_requests() -> None:
    def redrive_execution(self: StepFunctionResponse) -> ActionResult:
        arn = self._get_param("executionArn")
        execution = self.stepfunction_backend.describe_execution(arn)
        _redrive(execution)
        return ActionResult({"redriveDate": execution.redrive_date})

    StepFunctionResponse.redrive_execution = redrive_execution


def install() -> None:
    """Adds RedriveExecution."""
    _count_redrives()
    _answer_requests()

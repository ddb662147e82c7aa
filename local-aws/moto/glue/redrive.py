"""Step Functions: an execution that did not succeed goes on from the state in which it ended.

Hole in moto 5.2.5: RedriveExecution is missing, and with it `RedriveCount` in the context object
and what DescribeExecution says of redrives.

An execution goes on with the variables and the input that its last state had. A Fail state is
entered again, and fails again.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import copy
import json
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.responses import StepFunctionResponse


class ExecutionNotRedrivable(AWSError):
    """The error of RedriveExecution, with its code."""

    TYPE = "ExecutionNotRedrivable"
    STATUS = 400


class RedrivenWorker(ExecutionWorker):
    """Goes on where `before` ended."""

    def __init__(self, execution: Execution, before: Environment, count: int) -> None:
        super().__init__(
            execution.exec_worker._evaluation_details,
            execution._get_start_execution_worker_comm(),
            execution._cloud_watch_logging_session,
            execution._activity_store,
        )
        self._count = count
        self._history = before.event_manager
        # A call that was under way when the execution ended may still assign its answer.
        self._variables = copy.deepcopy(before.variable_store)
        entered = [
            event["stateEnteredEventDetails"]
            for event in self._history.get_event_history()
            if "stateEnteredEventDetails" in event
        ]
        self._state = entered[-1]["name"]
        self._input = json.loads(entered[-1]["input"])

    def _get_evaluation_entrypoint(self) -> EvalComponent:
        program = super()._get_evaluation_entrypoint()
        program.start_at.start_at_name = self._state
        return program

    def _get_evaluation_environment(self) -> Environment:
        environment = super()._get_evaluation_environment()
        environment.variable_store = self._variables
        environment.event_manager = self._history
        context = environment.states.context_object.context_object_data
        context["Execution"]["RedriveCount"] = self._count
        environment.states.reset(self._input)
        return environment

    def _execution_logic(self) -> None:
        program = self._get_evaluation_entrypoint()
        self.env = self._get_evaluation_environment()
        self.env.event_manager.add_event(
            context=self.env.event_history_context,
            event_type=HistoryEventType.ExecutionRedriven,
            event_details=EventDetails(
                executionRedrivenEventDetails={"redriveCount": self._count}
            ),
            update_source_event_id=False,
        )
        program.eval(self.env)
        self._execution_communication.terminated()


def _redrive(execution: Execution) -> None:
    if execution.exec_status in (ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED):
        raise ExecutionNotRedrivable(
            f"Execution {execution.exec_arn} is {execution.exec_status.value}: only an execution "
            "that failed, timed out or was aborted can be redriven."
        )
    count = getattr(execution, "redrive_count", 0) + 1
    worker = RedrivenWorker(execution, execution.exec_worker.env, count)
    execution.redrive_count, execution.redrive_date = count, utcnow()
    execution.exec_worker, execution.exec_status = worker, ExecutionStatus.RUNNING
    execution.stop_date = execution.error = execution.cause = None
    worker.start()


def _count_redrives() -> None:
    environment: Callable[..., Environment] = ExecutionWorker._get_evaluation_environment

    def with_count(self: ExecutionWorker) -> Environment:
        made = environment(self)
        context = made.states.context_object.context_object_data
        context["Execution"]["RedriveCount"] = 0
        return made

    ExecutionWorker._get_evaluation_environment = with_count


def _answer_requests() -> None:
    describe_execution = StepFunctionResponse.describe_execution

    def execution_of(response: StepFunctionResponse) -> Execution:
        arn = response._get_param("executionArn")
        return response.stepfunction_backend.describe_execution(arn)

    def redrive_execution(self: StepFunctionResponse) -> ActionResult:
        execution = execution_of(self)
        _redrive(execution)
        return ActionResult({"redriveDate": execution.redrive_date})

    def describe(self: StepFunctionResponse) -> ActionResult:
        execution = execution_of(self)
        answer = describe_execution(self)
        told: dict[str, Any] = answer.result
        told["redriveCount"] = getattr(execution, "redrive_count", 0)
        if told["redriveCount"]:
            told["redriveDate"] = execution.redrive_date
        redrivable = execution.exec_status not in (
            ExecutionStatus.RUNNING,
            ExecutionStatus.SUCCEEDED,
        )
        told["redriveStatus"] = "REDRIVABLE" if redrivable else "NOT_REDRIVABLE"
        if not redrivable:
            told["redriveStatusReason"] = (
                f"Execution is {execution.exec_status.value} and cannot be redriven"
            )
        return answer

    StepFunctionResponse.redrive_execution = redrive_execution
    StepFunctionResponse.describe_execution = describe


def install() -> None:
    """Adds RedriveExecution."""
    _count_redrives()
    _answer_requests()

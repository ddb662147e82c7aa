"""Step Functions: executions as its API shows them, and requests to other AWS services.

Holes in moto 5.2.5: an execution without a name gets none; bad names and inputs are taken or,
as are bad definitions, answered without an error code; StopExecution forgets error and cause,
takes effect only when the running task has ended, and not at all where that fails; an output that
is a string is described unquoted; AWS SDK integrations get their parameters as written (`Cluster`), where botocore wants
`cluster`, and answer as botocore does, times as objects; their errors are named `ecs.…`. DynamoDB's
integration calls an expression that fails an error of DynamoDB.
"""

import json
import uuid
from datetime import datetime, timezone
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel
from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.stepfunctions.exceptions import InvalidExecutionInput
from moto.stepfunctions.parser.api import (
    ExecutionFailedEventDetails,
    ExecutionStatus,
    ServiceException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_aws_sdk,
    state_task_service_dynamodb,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.parser.utils import camel_to_snake_case
from moto.stepfunctions.responses import StepFunctionResponse

AwsSdkTask = state_task_service_aws_sdk.StateTaskServiceAwsSdk
DynamoDbTask = state_task_service_dynamodb.StateTaskServiceDynamoDB


@cache
def _operation(service: str, action: str) -> OperationModel | None:
    """The botocore model of `action`, which is in snake case."""
    model = botocore.session.get_session().get_service_model(service)
    for name in model.operation_names:
        if camel_to_snake_case(name) == action:
            return model.operation_model(name)
    return None


def timestamp(moment: datetime) -> str:
    """A time as Step Functions writes it."""
    utc = moment.astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
        return start_execution(
            self, state_machine_arn, name, execution_input, *arguments, **keywords
        )

    StepFunctionsParserBackend.start_execution = start


class InvalidDefinition(AWSError):
    """The error of CreateStateMachine and UpdateStateMachine, with its code."""

    TYPE = "InvalidDefinition"
    STATUS = 400


def _name_invalid_definitions() -> None:
    validate = StepFunctionsParserBackend._validate_definition

    def validate_definition(definition: str) -> None:
        try:
            validate(definition)
        except ServiceException as error:
            raise InvalidDefinition(
                f"Invalid State Machine Definition: '{error.message}'"
            ) from error

    StepFunctionsParserBackend._validate_definition = staticmethod(validate_definition)


def _stop_at_once() -> None:
    stop = Execution.stop

    def stop_at_once(
        self: Execution, stop_date: datetime, error: str | None, cause: str | None
    ) -> None:
        if self.exec_status != ExecutionStatus.RUNNING:
            return
        stop(self, stop_date=stop_date, error=error, cause=cause)
        self.exec_status = ExecutionStatus.ABORTED
        self.stop_date, self.error, self.cause = stop_date, error, cause

    def stop_execution(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(
            self._get_param("executionArn")
        )
        execution.stop(utcnow(), self._get_param("error"), self._get_param("cause"))
        return ActionResult({"stopDate": execution.stop_date})

    set_error = Environment.set_error

    def set_error_unless_stopped(self: Environment, error: ExecutionFailedEventDetails) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    Execution.stop = stop_at_once
    StepFunctionResponse.stop_execution = stop_execution
    Environment.set_error = set_error_unless_stopped


def _describe_completely() -> None:
    describe_execution = StepFunctionResponse.describe_execution

    def describe(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(
            self._get_param("executionArn")
        )
        answer = describe_execution(self)
        if execution.exec_status == ExecutionStatus.SUCCEEDED:
            answer.result["output"] = json.dumps(execution.output, ensure_ascii=False)
        if execution.stop_date is not None:
            answer.result["stopDate"] = execution.stop_date
        return answer

    StepFunctionResponse.describe_execution = describe


def _with_times_as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, dict):
        return {key: _with_times_as_text(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_times_as_text(member) for member in value]
    return value


def _case_parameters() -> None:
    Service = state_task_service.StateTaskService

    def normalise_parameters(
        self: Any,
        parameters: dict[str, Any],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        operation = _operation(
            self._get_boto_service_name(boto_service_name),
            self._get_boto_service_action(service_action_name),
        )
        if operation is not None and operation.input_shape is not None:
            self._to_boto_request(parameters, operation.input_shape)

    def normalise_response(
        self: Any,
        response: Any,
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        operation = _operation(
            self._get_boto_service_name(boto_service_name),
            self._get_boto_service_action(service_action_name),
        )
        if operation is not None and operation.output_shape is not None:
            self._from_boto_response(response, operation.output_shape)
        if isinstance(response, dict):
            response.update(_with_times_as_text(response))

    Service._normalise_parameters = normalise_parameters
    Service._normalise_response = normalise_response


def _name_sdk_errors() -> None:
    """`Ecs.ClusterNotFoundException`: the service's name as in the ARN, capitalised.

    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """

    def service_error_name(service_name: str) -> str:
        known = state_task_service_aws_sdk._SERVICE_ERROR_NAMES
        lower = service_name.lower()
        return known.get(lower, lower[:1].upper() + lower[1:])

    AwsSdkTask._normalise_service_error_name = staticmethod(service_error_name)


def _name_evaluation_errors() -> None:
    from_error = DynamoDbTask._from_error

    def named(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, FailureEventException):
            return super(DynamoDbTask, self)._from_error(env=env, ex=ex)
        return from_error(self, env=env, ex=ex)

    DynamoDbTask._from_error = named


def install() -> None:
    """Completes the interpreter."""
    _check_starts()
    _name_invalid_definitions()
    _stop_at_once()
    _describe_completely()
    _case_parameters()
    _name_sdk_errors()
    _name_evaluation_errors()

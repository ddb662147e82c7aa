"""Step Functions: executions as its API shows them, and requests to other AWS services.

Holes in moto 5.2.5: bad definitions are answered without an error code; an output that is a string
is described unquoted, and `includedData` is ignored; GetExecutionHistory answers all it has,
whatever page and order is asked for; AWS SDK integrations get their parameters as
written (`Cluster`), where botocore wants `cluster`, and answer as botocore does, times as objects;
their errors are named `ecs.…`. DynamoDB's integration calls an expression that fails an error of
DynamoDB. Lambda's has another name than AWS where the state machine may not invoke the function.
"""

from datetime import datetime, timezone
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.stepfunctions.parser.api import ServiceException
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_aws_sdk,
    state_task_service_dynamodb,
    state_task_service_lambda,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.parser.utils import camel_to_snake_case
from moto.stepfunctions.responses import StepFunctionResponse

from glue import executions

AwsSdkTask = state_task_service_aws_sdk.StateTaskServiceAwsSdk
DynamoDbTask = state_task_service_dynamodb.StateTaskServiceDynamoDB
LambdaTask = state_task_service_lambda.StateTaskServiceLambda


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


def _describe_completely() -> None:
    """With `METADATA_ONLY` what the execution was given, gave and said is left out.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
    """
    describe_execution = StepFunctionResponse.describe_execution

    def describe(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(
            self._get_param("executionArn")
        )
        answer = describe_execution(self)
        told: dict[str, Any] = answer.result
        told.update(executions.redrive_status(execution))
        told["stopDate"] = execution.stop_date
        told["output"] = executions.output_of(execution)
        included = self._get_param("includedData") != "METADATA_ONLY"
        for name in ("input", "output"):
            if told[name] is not None:
                told[f"{name}Details"] = {"included": included}
        if not included:
            for name in ("input", "output", "error", "cause"):
                told.pop(name, None)
        for name in [name for name, value in told.items() if value is None]:
            del told[name]
        return answer

    StepFunctionResponse.describe_execution = describe


#: Events of a history in one page.
HISTORY_PAGE = 100
LONGEST_HISTORY_PAGE = 1000


class InvalidToken(AWSError):
    """What was never a token."""

    TYPE = "InvalidToken"
    STATUS = 400


def _tell_histories_by_pages() -> None:
    """A token is the number of the event with which its page begins.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html
    """

    def get_execution_history(self: StepFunctionResponse) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(
            self._get_param("executionArn")
        )
        size, token = self._get_param("maxResults") or HISTORY_PAGE, self._get_param("nextToken")
        step = -1 if self._get_param("reverseOrder") else 1
        environment = execution.exec_worker.env
        # Events stay as they are; they are numbered from 1 on.
        events = list(environment.event_manager._history_event_list) if environment else []
        try:
            first = (1 if step == 1 else len(events)) if token is None else int(token)
        except ValueError as error:
            raise InvalidToken(f"Invalid Token: '{token}'") from error
        end = first + step * min(size, LONGEST_HISTORY_PAGE)
        known = range(1, len(events) + 1)
        page = [events[number - 1] for number in range(first, end, step) if number in known]
        told: dict[str, Any] = {"events": page}
        if end in known:
            told["nextToken"] = str(end)
        return ActionResult(told)

    StepFunctionResponse.get_execution_history = get_execution_history


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


def _name_lambda_errors() -> None:
    """What Lambda's model of Invoke does not have is a `Lambda.AWSLambdaException`.

    Seen in https://github.com/awslabs/aws-deployment-framework/issues/460
    """
    named = LambdaTask._error_cause_from_client_error

    def error_and_cause(client_error: ClientError) -> tuple[str, str]:
        error, cause = named(client_error)
        denied = error == "Lambda.AccessDeniedException"
        return ("Lambda.AWSLambdaException" if denied else error), cause

    LambdaTask._error_cause_from_client_error = staticmethod(error_and_cause)


def install() -> None:
    """Completes the interpreter."""
    _name_invalid_definitions()
    _describe_completely()
    _tell_histories_by_pages()
    _case_parameters()
    _name_sdk_errors()
    _name_evaluation_errors()
    _name_lambda_errors()

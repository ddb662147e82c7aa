"""Step Functions' interpreter: names of executions, requests and responses of AWS services.

Holes in moto 5.2.5: an execution without a name gets none; AWS SDK integrations get their
parameters as written (`Cluster`), where botocore wants `cluster`, and answer as botocore does;
an error of an AWS SDK integration is named `ecs.EcsException`.
"""

import uuid
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service,
    state_task_service_aws_sdk,
)
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.parser.utils import camel_to_snake_case

AwsSdkTask = state_task_service_aws_sdk.StateTaskServiceAwsSdk


@cache
def _operation(service: str, action: str) -> OperationModel | None:
    """The botocore model of `action`, which is in snake case."""
    model = botocore.session.get_session().get_service_model(service)
    for name in model.operation_names:
        if camel_to_snake_case(name) == action:
            return model.operation_model(name)
    return None


def _name_executions() -> None:
    start_execution = StepFunctionsParserBackend.start_execution

    def start(
        self: StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None = None,
        *arguments: Any,
        **keywords: Any,
    ) -> Any:
        name = name or str(uuid.uuid4())
        return start_execution(self, state_machine_arn, name, *arguments, **keywords)

    StepFunctionsParserBackend.start_execution = start


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

    def exception_name(service_error_name: str, error: Exception) -> str:
        name = error.__class__.__name__
        if isinstance(error, ClientError):
            name = error.response["Error"].get("Code") or service_error_name
        suffix = "" if name.endswith("Exception") else "Exception"
        return f"{service_error_name}.{name}{suffix}"

    AwsSdkTask._normalise_service_error_name = staticmethod(service_error_name)
    AwsSdkTask._normalise_exception_name = staticmethod(exception_name)


def install() -> None:
    """Completes the interpreter."""
    _name_executions()
    _case_parameters()
    _name_sdk_errors()

"""Checks recorded calls of ECS against botocore's model of its API.

    target/venv/bin/python local-aws/conformance/check_ecs_calls.py FILE

FILE is what `local-aws --record-ecs FILE` wrote: one call a line, as a JSON object of
`operation`, `request`, `status`, `response` and `userAgent`. Every finding is a line,
however often it occurs; any finding makes the exit code 1. Otherwise the number of
calls is printed.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

# JSON's own types; timestamps are seconds since the epoch.
# https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#shape-serialization
TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "double": (int, float),
    "integer": (int,),
    "list": (list,),
    "long": (int,),
    "map": (dict,),
    "string": (str,),
    "structure": (dict,),
    "timestamp": (int, float),
}

# What any operation may answer without saying so in its model.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
COMMON_ERRORS = {"SerializationException", "ThrottlingException"}

# Values that AWS documents although the model's enumeration lacks them.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
# (lifecycleStage)
DOCUMENTED_VALUES = {
    "ServiceDeploymentLifecycleStage": {"PRE_PRODUCTION_TRAFFIC_SHIFT"},
}

# What AWS's answers always have although the model requires next to nothing of them: a client
# that reads it would see a default where the local ECS forgets it. It is what all examples of
# answers have in the AWS CLI's reference, beside those from before a member was introduced:
# https://docs.aws.amazon.com/cli/latest/reference/ecs/run-task.html#examples, and in the same way
# of create-cluster, create-service, describe-clusters, describe-services,
# describe-service-deployments, describe-service-revisions, describe-task-definition,
# describe-tasks, list-service-deployments, register-task-definition, start-task, stop-task and
# update-service. What depends on network mode, launch type or platform is left out.
ALWAYS_GIVEN = {
    "Attachment": {"details", "id", "status", "type"},
    "Cluster": {
        "activeServicesCount",
        "clusterArn",
        "clusterName",
        "pendingTasksCount",
        "registeredContainerInstancesCount",
        "runningTasksCount",
        "status",
    },
    "Container": {
        "containerArn",
        "cpu",
        "image",
        "lastStatus",
        "name",
        "networkInterfaces",
        "taskArn",
    },
    "ContainerImage": {"containerName", "image"},
    "Deployment": {
        "createdAt",
        "desiredCount",
        "failedTasks",
        "id",
        "pendingCount",
        "rolloutState",
        "rolloutStateReason",
        "runningCount",
        "status",
        "taskDefinition",
        "updatedAt",
    },
    "Service": {
        "clusterArn",
        "createdAt",
        "deploymentConfiguration",
        "deploymentController",
        "deployments",
        "desiredCount",
        "enableECSManagedTags",
        "enableExecuteCommand",
        "events",
        "loadBalancers",
        "pendingCount",
        "placementConstraints",
        "placementStrategy",
        "propagateTags",
        "runningCount",
        "schedulingStrategy",
        "serviceArn",
        "serviceName",
        "serviceRegistries",
        "status",
        "taskDefinition",
    },
    "ServiceDeployment": {
        "alarms",
        "clusterArn",
        "createdAt",
        "deploymentCircuitBreaker",
        "deploymentConfiguration",
        "serviceArn",
        "serviceDeploymentArn",
        "sourceServiceRevisions",
        "status",
        "targetServiceRevision",
        "updatedAt",
    },
    "ServiceDeploymentBrief": {
        "clusterArn",
        "createdAt",
        "serviceArn",
        "serviceDeploymentArn",
        "status",
        "targetServiceRevisionArn",
    },
    "ServiceDeploymentCircuitBreaker": {"failureCount", "status", "threshold"},
    "ServiceEvent": {"createdAt", "id", "message"},
    "ServiceRevision": {
        "clusterArn",
        "containerImages",
        "createdAt",
        "guardDutyEnabled",
        "serviceArn",
        "serviceRevisionArn",
        "taskDefinition",
    },
    "ServiceRevisionSummary": {
        "arn",
        "pendingTaskCount",
        "requestedTaskCount",
        "runningTaskCount",
    },
    "Task": {
        "attachments",
        "attributes",
        "clusterArn",
        "containers",
        "cpu",
        "createdAt",
        "desiredStatus",
        "enableExecuteCommand",
        "group",
        "lastStatus",
        "launchType",
        "memory",
        "overrides",
        "tags",
        "taskArn",
        "taskDefinitionArn",
        "version",
    },
    "TaskDefinition": {
        "compatibilities",
        "containerDefinitions",
        "family",
        "placementConstraints",
        "revision",
        "status",
        "taskDefinitionArn",
        "volumes",
    },
}

# What they have as well in a status, by the member that tells it; and of what ends a service
# deployment, what the API's reference says of the members.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
GIVEN_WHEN = {
    "Task": {
        "lastStatus": {
            "RUNNING": {
                "connectivity",
                "connectivityAt",
                "pullStartedAt",
                "pullStoppedAt",
                "startedAt",
            },
            "STOPPED": {"stopCode", "stoppedAt", "stoppedReason", "stoppingAt"},
        }
    },
    "ServiceDeployment": {
        "status": {
            "IN_PROGRESS": {"startedAt"},
            "SUCCESSFUL": {"finishedAt", "startedAt"},
            "STOPPED": {"stoppedAt"},
            "ROLLBACK_IN_PROGRESS": {"rollback"},
            "ROLLBACK_SUCCESSFUL": {"rollback"},
        }
    },
    "ServiceDeploymentBrief": {"status": {"SUCCESSFUL": {"finishedAt", "startedAt"}}},
}

Findings = Iterator[str]


def check(model: ServiceModel, call: dict[str, Any]) -> Findings:
    """What is wrong with the request of a call, and with its answer."""
    name = call["operation"]
    if name not in model.operation_names:
        yield f"{name}: ECS has no such operation"
        return
    operation = model.operation_model(name)
    agent = call["userAgent"]
    for finding in values(operation.input_shape, call["request"], f"{name} request"):
        yield f"{finding} (sent by {agent})"
    yield from answer(operation, call["status"], call["response"])


def answer(operation: OperationModel, status: int, body: Any) -> Findings:
    """An answer is the operation's output, or one of its errors."""
    if status == 200:
        yield from values(operation.output_shape, body, f"{operation.name} answer")
        return
    errors = {shape.name: shape for shape in operation.error_shapes}
    members = dict(body)
    error = members.pop("__type", None)
    place = f"{operation.name} error {error}"
    if error in errors:
        yield from values(errors[error], members, place)
    elif error not in COMMON_ERRORS:
        yield f"{place}: the operation has no such error"


def values(shape: Shape, value: Any, place: str) -> Findings:
    """A value and all that is in it."""
    if getattr(shape, "is_document_type", False):
        # Whatever JSON the user likes.
        return
    kind = shape.type_name
    # To Python a boolean is an integer, to AWS it is not.
    is_boolean = isinstance(value, bool)
    if not isinstance(value, TYPES[kind]) or is_boolean != (kind == "boolean"):
        yield f"{place}: {json.dumps(value)} is no {kind}"
    elif kind == "structure":
        yield from members(shape, value, place)
    elif kind == "list":
        for item in value:
            yield from values(shape.member, item, f"{place}[]")
    elif kind == "map":
        for key, item in value.items():
            yield from values(shape.key, key, f"{place} key")
            yield from values(shape.value, item, f"{place}.*")
    elif kind == "string" and shape.enum:
        documented = DOCUMENTED_VALUES.get(shape.name, set())
        if value not in shape.enum and value not in documented:
            yield f"{place}: {value} is not one of {', '.join(shape.enum)}"


def members(shape: Shape, value: dict[str, Any], place: str) -> Findings:
    """The members of a structure: all that it must have, none that it may not."""
    for name in sorted(required(shape, value)):
        if name not in value:
            yield f"{place}.{name}: is missing"
    for name, item in value.items():
        if name in shape.members:
            yield from values(shape.members[name], item, f"{place}.{name}")
        else:
            yield f"{place}.{name}: {shape.name} has no such member"


def required(shape: Shape, value: dict[str, Any]) -> set[str]:
    """The members that a structure must have."""
    names = set(shape.required_members) | ALWAYS_GIVEN.get(shape.name, set())
    for status, given in GIVEN_WHEN.get(shape.name, {}).items():
        names |= given.get(value.get(status), set())
    return names


def check_all(lines: Iterable[str]) -> tuple[int, Counter[str]]:
    """The number of calls, and how often each finding occurs."""
    model = botocore.session.Session().get_service_model("ecs")
    calls, found = 0, Counter[str]()
    for line in lines:
        calls += 1
        found.update(check(model, json.loads(line)))
    return calls, found


def main(path: str) -> int:
    with open(path, encoding="utf-8") as lines:
        calls, found = check_all(lines)
    for finding, times in sorted(found.items()):
        print(f"{finding} ({times} times)")
    if calls == 0:
        print(f"{path} has no calls")
    if found or calls == 0:
        return 1
    print(f"{calls} calls of ECS conform to its API model")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Runs a stack's migration once, with the new image."""

import hashlib

import boto3

import task_definition
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ecs = boto3.client("ecs")


class TaskNotStarted(Exception):
    pass


def handler(event, context):
    check(event, ("migration", "image", "repository", "stack", "executionId", "attempt"))
    migration = check(
        event["migration"],
        ("cluster", "service", "taskDefinition", "container", "command"),
        where="migration.",
    )
    check_image(event["image"], event["repository"])
    service = service_of(migration)
    family = task_definition.family_of(ecs, migration["taskDefinition"])
    try:
        revision = task_definition.register_pinned(
            ecs, family, event["image"], event["stack"], event["executionId"]
        )
    except task_definition.NothingToPin as nothing:
        raise InvalidInput(f"`migration.taskDefinition`: {nothing}") from nothing
    task_arn, revision = start(request(service, event, revision), migration)
    return {
        "cluster": migration["cluster"],
        "taskArn": task_arn,
        "taskDefinition": revision,
        "container": migration["container"],
        "log": log_location(family[0]["taskDefinition"], migration["container"], task_arn),
    }


def check_image(image, repository):
    match = task_definition.IMAGE.fullmatch(image)
    if not match or match["repository"] != repository:
        raise InvalidInput(f"`image`: {image} is not an image of the repository {repository}")
    if not match["digest"]:
        raise InvalidInput(f"`image`: {image} names no digest")


def service_of(migration):
    with AwsRequests("ecs:DescribeServices", migration["service"]):
        answer = ecs.describe_services(
            cluster=migration["cluster"], services=[migration["service"]]
        )
    if not answer["services"]:
        reason = next((f.get("reason") for f in answer["failures"]), "MISSING")
        raise AwsRequestFailed(
            "ecs:DescribeServices", migration["service"], reason, "ECS has no such service"
        )
    return answer["services"][0]


def request(service, event, revision):
    migration = event["migration"]
    token = hashlib.sha256(f"{event['executionId']}#{event['attempt']}".encode()).hexdigest()
    run = {
        "cluster": migration["cluster"],
        "taskDefinition": revision,
        "count": 1,
        "enableECSManagedTags": service["enableECSManagedTags"],
        "overrides": {
            "containerOverrides": [
                {"name": migration["container"], "command": migration["command"]}
            ]
        },
        "startedBy": f"bluegreen-{token[:16]}",
        "tags": task_definition.marked([], event["stack"], event["executionId"]),
        "clientToken": token,
    }
    copied = [
        "capacityProviderStrategy",
        "networkConfiguration",
        "placementConstraints",
        "placementStrategy",
        "platformVersion",
    ]
    if not service.get("capacityProviderStrategy"):
        copied.append("launchType")
    run.update({key: service[key] for key in copied if service.get(key)})
    return run


def start(run, migration):
    try:
        answer = ecs.run_task(**run)
    except ecs.exceptions.ConflictException as conflict:
        # The same token with another revision: ECS names the task of an earlier try.
        return found(migration, conflict.response["resourceIds"][0])
    except Exception:
        with AwsRequests("ecs:RunTask", migration["service"]):
            raise
    if not answer["tasks"]:
        reasons = "; ".join(failure.get("reason", "no reason") for failure in answer["failures"])
        raise TaskNotStarted(f"ECS did not start the migration of {migration['service']}: {reasons}")
    return answer["tasks"][0]["taskArn"], run["taskDefinition"]


def found(migration, task_arn):
    with AwsRequests("ecs:DescribeTasks", task_arn):
        answer = ecs.describe_tasks(cluster=migration["cluster"], tasks=[task_arn])
    return task_arn, answer["tasks"][0]["taskDefinitionArn"]


def log_location(definition, container, task_arn):
    containers = definition["containerDefinitions"]
    configuration = next(
        (c.get("logConfiguration") for c in containers if c["name"] == container), None
    )
    if not configuration or configuration["logDriver"] != "awslogs":
        return None
    options = configuration.get("options", {})
    if "awslogs-group" not in options or "awslogs-stream-prefix" not in options:
        return None
    task_id = task_arn.rsplit("/", 1)[-1]
    return {
        "group": options["awslogs-group"],
        "stream": f"{options['awslogs-stream-prefix']}/{container}/{task_id}",
        "region": options.get("awslogs-region") or task_arn.split(":")[3],
    }

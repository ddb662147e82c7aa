"""Starts a release's command once, as a task of the new image."""

import hashlib
import json
import shlex

import table
import task_definition
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ecs = client("ecs")
cloudformation = client("cloudformation")

MIGRATION_TAG = "bluegreen:migration"


OUTPUTS = {
    "migration": "MigrationCommand",
    "postDeploy": "PostDeployCommand",
    "contract": "ContractCommand",
}


class CommandNotOfStack(Exception):
    pass


class TaskNotStarted(Exception):
    pass


def handler(event, context):
    check(event, ("release", "execution", "retries", "earlier", "command", "before"))
    release, execution = event["release"], event["execution"]
    command = check(
        event["command"],
        (
            "purpose",
            "cluster",
            "service",
            "taskDefinition",
            "container",
            "command",
            "line",
            "timeoutSeconds",
        ),
        optional=("size",),
        where="command.",
    )
    check_image(release["image"], release["repository"])
    check_command(release["stack"], command)
    at, is_migration = table.now(), command["purpose"] == "migration"
    call = table.call_of(context)
    table.begin(
        release,
        execution,
        command["purpose"],
        call,
        before=event["before"] if is_migration else None,
    )
    with table.finishing(release["stack"], call):
        return run(event, at)


def check_command(stack, command):
    """Nobody else than the stack says what runs."""
    with AwsRequests("cloudformation:DescribeStacks", stack):
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}
    told = json.loads(outputs.get(OUTPUTS[command["purpose"]], "[]"))
    words = command["command"]
    is_script = len(words) == 1 and words[0] == shlex.join(told)
    if not told or not (words in (told, ["sh", *told]) or is_script):
        raise CommandNotOfStack(f"{words} is not what stack {stack} says: {told}")


def run(event, at):
    release, execution, command = event["release"], event["execution"], event["command"]
    service = service_of(command)
    described = task_definition.describe(ecs, command["taskDefinition"])
    try:
        revision = task_definition.register_one_off(
            ecs,
            described,
            command,
            release["image"],
            release["stack"],
            execution["id"],
            event["retries"] > 0,
        )
    except task_definition.NothingToPin as nothing:
        raise InvalidInput(f"`command.taskDefinition`: {nothing}") from nothing
    task_arn, revision = start(request(service, event, revision), command)
    if command["purpose"] == "migration":
        table.started_migration(release, execution, task_arn, command["line"])
    return {
        "purpose": command["purpose"],
        "stack": release["stack"],
        "image": release["image"],
        "cluster": command["cluster"],
        "service": command["service"],
        "taskArn": task_arn,
        "taskDefinition": revision,
        "container": command["container"],
        "log": task_definition.log_location(described["taskDefinition"], command["container"], task_arn),
        "at": at,
        "timeoutSeconds": command["timeoutSeconds"],
        "attempt": attempt(event),
    }


def attempt(event):
    """How many tasks before this one never started."""
    return event["earlier"]["attempt"] + 1 if event["earlier"] else 0


def check_image(image, repository):
    match = task_definition.IMAGE.fullmatch(image or "")
    if not match or match["repository"] != repository:
        raise InvalidInput(f"`release.image`: {image} is not an image of {repository}")
    if not match["digest"]:
        raise InvalidInput(f"`release.image`: {image} names no digest")


def service_of(command):
    with AwsRequests("ecs:DescribeServices", command["service"]):
        answer = ecs.describe_services(
            cluster=command["cluster"], services=[command["service"]]
        )
    if not answer["services"]:
        reason = next((f.get("reason") for f in answer["failures"]), "MISSING")
        raise AwsRequestFailed(
            "ecs:DescribeServices", command["service"], reason, "ECS has no such service"
        )
    return answer["services"][0]


def request(service, event, revision):
    release, execution, command = event["release"], event["execution"], event["command"]
    identity = (
        f"{execution['id']}#{execution['redrives']}#{command['purpose']}#{attempt(event)}"
    )
    run = {
        "cluster": command["cluster"],
        "taskDefinition": revision,
        "count": 1,
        "enableECSManagedTags": service["enableECSManagedTags"],
        "overrides": {
            "containerOverrides": [{"name": command["container"], "command": command["command"]}]
        },
        "startedBy": f"bluegreen/{release['stack']}",
        "tags": task_definition.marked(
            [{"key": MIGRATION_TAG, "value": release["stack"]}], release["stack"], execution["id"]
        ),
        "clientToken": hashlib.sha256(identity.encode()).hexdigest(),
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


def start(run, command):
    try:
        answer = ecs.run_task(**run)
    except ecs.exceptions.ConflictException as conflict:
        # The same token with another revision: ECS names the task of an earlier try.
        return found(command, conflict.response["resourceIds"][0])
    except Exception:
        with AwsRequests("ecs:RunTask", command["service"]):
            raise
    if not answer["tasks"]:
        reasons = "; ".join(failure.get("reason", "no reason") for failure in answer["failures"])
        raise TaskNotStarted(f"ECS did not start the {command['purpose']} of {command['service']}: {reasons}")
    return answer["tasks"][0]["taskArn"], run["taskDefinition"]


def found(command, task_arn):
    with AwsRequests("ecs:DescribeTasks", task_arn):
        answer = ecs.describe_tasks(cluster=command["cluster"], tasks=[task_arn])
    return task_arn, answer["tasks"][0]["taskDefinitionArn"]

"""Deregisters what releases of a stack have registered and what is not in service."""

import services
import table
import task_definition
from clients import client
from failures import AwsRequests, check

ecs = client("ecs")


def handler(event, context):
    check(event, ("release", "execution", "services"))
    call = table.call_of(context)
    table.begin(event["release"], event["execution"], "revisions", call)
    with table.finishing(event["release"]["stack"], call):
        return {"taskDefinitions": deregister(event["release"]["stack"], event["services"])}


def deregister(stack, planned):
    in_service = set()
    for service in services.describe(planned).values():
        in_service.add(service["taskDefinition"])
        in_service.update(one["taskDefinition"] for one in service["deployments"])
    families = {}
    for revision in sorted(in_service):
        described = task_definition.describe(ecs, revision)["taskDefinition"]
        families.setdefault(described["family"], set()).update(images(described))
    gone = []
    for family, run in families.items():
        down_to(stack, family, lambda latest: latest["taskDefinitionArn"] in in_service, gone)
        for purpose in task_definition.SUFFIXES:
            one_off = task_definition.one_off_family(family, purpose)
            down_to(stack, one_off, lambda latest, run=run: images(latest) <= run, gone)
    return gone


def images(described):
    return {container["image"] for container in described["containerDefinitions"]}


def down_to(stack, family, serves, gone):
    while True:
        described = task_definition.latest(ecs, family)
        if not described:
            return
        latest, tags = described["taskDefinition"], described.get("tags", [])
        arn, tags = latest["taskDefinitionArn"], {tag["key"]: tag["value"] for tag in tags}
        is_ours = tags.get(task_definition.STACK_TAG) == stack
        is_ours = is_ours and task_definition.EXECUTION_TAG in tags
        if serves(latest) or not is_ours or arn in gone:
            return
        with AwsRequests("ecs:DeregisterTaskDefinition", arn):
            ecs.deregister_task_definition(taskDefinition=arn)
        gone.append(arn)

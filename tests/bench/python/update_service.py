"""Gives every service its revision with the image pinned."""

from collections import defaultdict

import boto3

import task_definition
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ecs = boto3.client("ecs")

BATCH = 10


class ServiceUpdateRefused(Exception):
    pass


def handler(event, context):
    check(event, ("services", "image", "repository", "stack"), ("migrated", "executionId"))
    if not event["services"]:
        raise InvalidInput("`services`: there is none")
    match = task_definition.IMAGE.fullmatch(event["image"])
    if not match or match["repository"] != event["repository"] or not match["digest"]:
        raise InvalidInput(f"`image`: {event['image']} is no digest of {event['repository']}")

    current = current_task_definitions(event["services"])
    steps = [revision_for(event, planned, current) for planned in event["services"]]
    update(event["services"], steps)
    return {
        "services": [
            {
                "cluster": planned["cluster"],
                "service": planned["service"],
                "taskDefinition": revision,
                "previousTaskDefinition": planned["taskDefinition"],
            }
            for planned, (revision, _) in zip(event["services"], steps)
        ]
    }


def current_task_definitions(services):
    by_cluster = defaultdict(list)
    for planned in services:
        by_cluster[planned["cluster"]].append(planned["service"])
    found = {}
    for cluster, names in by_cluster.items():
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            with AwsRequests("ecs:DescribeServices", ", ".join(batch)):
                answer = ecs.describe_services(cluster=cluster, services=batch)
            for service in answer["services"]:
                found[service["serviceArn"]] = service["taskDefinition"]
    return found


def revision_for(event, planned, current):
    """The revision that the service is to have, and whether it has it already."""
    service = planned["service"]
    if service not in current:
        raise ServiceUpdateRefused(f"ECS has no service {service}")
    unchanged = current[service] == planned["taskDefinition"]
    migrated = event.get("migrated")
    if migrated and unchanged and migrated["service"] == service:
        return migrated["taskDefinition"], False
    family = task_definition.family_of(ecs, current[service])
    containers = family[0]["taskDefinition"]["containerDefinitions"]
    if not unchanged and task_definition.are_pinned_to(containers, event["image"]):
        return current[service], True
    try:
        revision = task_definition.register_pinned(
            ecs, family, event["image"], event["stack"], event.get("executionId")
        )
    except task_definition.NothingToPin as nothing:
        raise ServiceUpdateRefused(f"{service}: {nothing}") from nothing
    return revision, False


def update(services, steps):
    done = [planned["service"] for planned, (_, is_done) in zip(services, steps) if is_done]
    for planned, (revision, is_done) in zip(services, steps):
        if is_done:
            continue
        service = planned["service"]
        try:
            with AwsRequests("ecs:UpdateService", service):
                ecs.update_service(
                    cluster=planned["cluster"], service=service, taskDefinition=revision
                )
        except AwsRequestFailed as failure:
            raise ServiceUpdateRefused(f"{failure} Updated: {', '.join(done) or 'none'}") from failure
        done.append(service)

"""Gives every service its revision with the image pinned."""

from collections import defaultdict

import alarms
import table
import task_definition
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ecs = client("ecs")

BATCH = 10


class ServiceUpdateRefused(Exception):
    pass


def handler(event, context):
    required = ("release", "execution", "services", "alarms", "deploymentSeconds")
    check(event, required, optional=("migration", "migrations"))
    release, planned = event["release"], event["services"]
    if not planned:
        raise InvalidInput("`services`: there is none")
    match = task_definition.IMAGE.fullmatch(release["image"] or "")
    if not match or match["repository"] != release["repository"] or not match["digest"]:
        raise InvalidInput(f"`release.image`: {release['image']} is no digest of its repository")
    if event.get("migrations"):
        table.migrated(release, event["execution"], event["migrations"], event.get("migration"))
    check_alarms(event)
    call = table.call_of(context)
    begin(event, call)
    with table.finishing(release["stack"], call):
        current = described(planned)
        steps = [revision_for(event, one, current) for one in planned]
        wanted = [
            {**bare(one), "taskDefinition": revision} for one, (revision, _) in zip(planned, steps)
        ]
        begin(event, call, wanted)
        update(planned, steps)
    at = table.now()
    return {
        "services": [
            {
                **bare(one),
                "taskDefinition": revision,
                "previousTaskDefinition": one["taskDefinition"],
                "replacesTasks": not is_done and current[one["service"]]["desiredCount"] > 0,
            }
            for one, (revision, is_done) in zip(planned, steps)
        ],
        "at": at,
        "deadline": at + event["deploymentSeconds"] * 1000,
        "tries": 1,
    }


def bare(planned):
    return {"cluster": planned["cluster"], "service": planned["service"]}


def check_alarms(event):
    """A call that is made again is not refused: the one before may have updated services."""
    names = alarms.in_alarm(event["alarms"])
    if names:
        release = event["release"]
        record = table.record(release["stack"], release["record"]) or {}
        if record.get("touched") != event["execution"]["redrives"]:
            raise alarms.AlarmsInAlarm(f"{', '.join(names)} of {release['stack']} are in ALARM")


def begin(event, call, services=None):
    table.begin(
        event["release"],
        event["execution"],
        "services",
        call,
        before=event["services"],
        services=services,
    )


def described(services):
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
                found[service["serviceArn"]] = service
    return found


def revision_for(event, planned, current):
    """The revision that the service is to have, and whether it has it already."""
    service = planned["service"]
    if service not in current:
        raise ServiceUpdateRefused(f"ECS has no service {service}")
    has = current[service]["taskDefinition"]
    unchanged, release = has == planned["taskDefinition"], event["release"]
    family = task_definition.family_of(ecs, has)
    containers = family[0]["taskDefinition"]["containerDefinitions"]
    if not unchanged and task_definition.are_pinned_to(containers, release["image"]):
        return has, True
    try:
        revision = task_definition.register_pinned(
            ecs, family, release["image"], release["stack"], event["execution"]["id"]
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

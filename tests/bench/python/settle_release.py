"""Waits until a stack is at rest that a dead release left in progress."""

import hashlib
import time

import services
import table
import waits
from failures import AwsRequestFailed, AwsRequests, InvalidInput

ecs = services.ecs

STALE_SECONDS = 3
STOPPING_MS = 900_000
TASKS = 100
STARTED_BY_LENGTH = 128
HASH_LENGTH = 16


class EarlierReleaseUnsettled(Exception):
    pass


def handler(event, context):
    waits.drive(
        "settle-release",
        event,
        awaited=lambda asked: [
            *(service["service"] for service in asked["plan"]["services"]),
            started_by(asked["plan"]["release"]["stack"]),
        ],
        told=told,
        look=lambda asked: settle(asked, table.until(context)),
    )


def told(event):
    kind, detail = event["detail-type"], event["detail"]
    if kind == "ECS Task State Change":
        return detail.get("startedBy")
    if kind == "ECS Deployment State Change":
        return event["resources"][0]
    return detail.get("serviceArn") if kind == "ECS Hook State Change" else None


def settle(asked, until):
    """None: the stack is not at rest yet."""
    release, planned = asked["plan"]["release"], asked["plan"]["services"]
    stack, at = release["stack"], table.now()
    if not planned:
        raise InvalidInput("`plan.services`: there is none")
    tasks, described, deployments = look(stack, planned)
    if not tasks and not deployments:
        time.sleep(STALE_SECONDS)
        tasks, described, deployments = look(stack, planned)
    if not tasks and not deployments:
        table.settled(stack, asked["execution"])
        return {"foundDeployment": was_deployed(described, asked["since"])}
    patience = asked["since"] + asked["plan"]["limits"]["migrationSeconds"] * 1000
    stop = what_to_stop(release, at > patience)
    if stop != "nothing":
        table.begin_settling(release, asked["execution"], until)
    sentences = [task_sentence(cluster, task, stop == "all") for cluster, task in tasks]
    sentences += [deployment_sentence(deployment, stop != "nothing") for deployment in deployments]
    if at > patience + STOPPING_MS:
        raise EarlierReleaseUnsettled(f"In progress in stack {stack}: {' '.join(sentences)}")
    return None


def what_to_stop(release, is_over):
    if release["alarm"]:
        return "nothing"
    if is_over:
        return "all"
    return "deployments" if release["action"] == "rollback" else "nothing"


def was_deployed(described, since):
    updates = [
        deployment["updatedAt"].timestamp() * 1000
        for service in described.values()
        for deployment in service["deployments"]
    ]
    return any(at >= since for at in updates)


def look(stack, planned):
    """The tasks that run, each after its cluster, the services, the deployments in progress."""
    tasks = [
        (cluster, task)
        for cluster in sorted({service["cluster"] for service in planned})
        for task in running_tasks(cluster, stack)
    ]
    described = services.describe(planned)
    deployments, _ = services.seen(described)
    return tasks, described, [deployments[arn] for arn in sorted(deployments)]


def running_tasks(cluster, stack):
    own = {"startedBy": started_by(stack)}
    stopped = {"desiredStatus": "STOPPED"}
    arns = listed(cluster, own)
    try:
        arns += listed(cluster, own | stopped)
    except AwsRequestFailed as failure:
        # startedBy may have to be the only filter.
        if failure.code != "InvalidParameterException":
            raise
        arns += listed(cluster, stopped)
    running = []
    for start in range(0, len(arns), TASKS):
        batch = arns[start : start + TASKS]
        with AwsRequests("ecs:DescribeTasks", ", ".join(batch)):
            answer = ecs.describe_tasks(cluster=cluster, tasks=batch)
        tasks = [task for task in answer["tasks"] if task.get("startedBy") == own["startedBy"]]
        running += [task for task in tasks if task["lastStatus"] != "STOPPED"]
    return running


def listed(cluster, filters):
    with AwsRequests("ecs:ListTasks", cluster):
        pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, **filters)
        return [arn for page in pages for arn in page["taskArns"]]


def started_by(stack):
    whole = f"bluegreen/{stack}"
    if len(whole) <= STARTED_BY_LENGTH:
        return whole
    digest = hashlib.sha256(stack.encode()).hexdigest()[:HASH_LENGTH]
    return f"{whole[: STARTED_BY_LENGTH - HASH_LENGTH - 1]}-{digest}"


def task_sentence(cluster, task, stop):
    arn = task["taskArn"]
    told = ""
    if task.get("desiredStatus") == "STOPPED":
        told = " and is stopping"
    elif stop:
        with AwsRequests("ecs:StopTask", arn):
            ecs.stop_task(
                cluster=cluster,
                task=arn,
                reason="bluegreen: the release that started this task is dead",
            )
        told = " and was told to stop"
    return f"Task {arn} is {task['lastStatus']}{told}."


def deployment_sentence(deployment, stop):
    arn, status = deployment["serviceDeploymentArn"], deployment["status"]
    told = ""
    if stop and status in ("PENDING", "IN_PROGRESS"):
        refusal = services.roll_back(arn)
        told = f" and could not be rolled back: {refusal}" if refusal else " and was told to roll back"
    return f"Service deployment {arn} is {status}{told}."

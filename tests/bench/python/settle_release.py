"""Looks at what is at work in a stack, and stops it where it is asked to."""

import hashlib
import time

import services
from failures import AwsRequests, InvalidInput, check

ecs = services.ecs

STALE_SECONDS = 3
TASKS = 100
STARTED_BY_LENGTH = 128
HASH_LENGTH = 16


def handler(event, context):
    check(event, ("stack", "services", "stop"))
    stack, stop = event["stack"], event["stop"]
    if not event["services"]:
        raise InvalidInput("`services`: there is none")
    tasks, deployments = look(stack, event["services"])
    if not tasks and not deployments:
        time.sleep(STALE_SECONDS)
        tasks, deployments = look(stack, event["services"])
    sentences = [task_sentence(cluster, task, stop == "all") for cluster, task in tasks]
    sentences += [deployment_sentence(deployment, stop != "nothing") for deployment in deployments]
    if sentences:
        cause = f"An earlier release is still at work in stack {stack}. {' '.join(sentences)}"
    else:
        cause = f"Nothing of an earlier release is at work in stack {stack}."
    return {
        "settled": not sentences,
        "cause": cause,
        "tasks": [task["taskArn"] for _, task in tasks],
        "deployments": [deployment["serviceDeploymentArn"] for deployment in deployments],
    }


def look(stack, planned):
    """The tasks that have not stopped, each after its cluster, and the deployments in progress."""
    tasks = [
        (cluster, task)
        for cluster in sorted({service["cluster"] for service in planned})
        for task in running_tasks(cluster, stack)
    ]
    deployments = services.in_progress(services.describe(planned))
    return tasks, [deployments[arn] for arn in sorted(deployments)]


def running_tasks(cluster, stack):
    arns = []
    with AwsRequests("ecs:ListTasks", cluster):
        for wanted in ("RUNNING", "STOPPED"):
            pages = ecs.get_paginator("list_tasks").paginate(
                cluster=cluster, startedBy=started_by(stack), desiredStatus=wanted
            )
            arns += [arn for page in pages for arn in page["taskArns"]]
    running = []
    for start in range(0, len(arns), TASKS):
        batch = arns[start : start + TASKS]
        with AwsRequests("ecs:DescribeTasks", ", ".join(batch)):
            answer = ecs.describe_tasks(cluster=cluster, tasks=batch)
        running += [task for task in answer["tasks"] if task["lastStatus"] != "STOPPED"]
    return running


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

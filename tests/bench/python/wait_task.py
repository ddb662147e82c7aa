"""Answers whether a task has stopped, and if so how."""

import boto3

from failures import AwsRequestFailed, AwsRequests, check

ecs = boto3.client("ecs")


class TaskNotFound(Exception):
    pass


def handler(event, context):
    check(event, ("cluster", "taskArn"))
    task_arn = event["taskArn"]
    with AwsRequests("ecs:DescribeTasks", task_arn):
        answer = ecs.describe_tasks(cluster=event["cluster"], tasks=[task_arn])
    if not answer["tasks"]:
        raise absent(answer["failures"], event)
    task = answer["tasks"][0]
    status = {"stopped": task["lastStatus"] == "STOPPED", "lastStatus": task["lastStatus"]}
    if status["stopped"]:
        status["task"] = stopped(task, task_arn)
    return status


def absent(failures, event):
    for failure in failures[:1]:
        if failure.get("reason") != "MISSING":
            return AwsRequestFailed(
                "ecs:DescribeTasks",
                event["taskArn"],
                failure.get("reason", "UnknownError"),
                failure.get("detail", "ECS gave no detail"),
            )
    return TaskNotFound(f"{event['cluster']} has no task {event['taskArn']}")


def stopped(task, task_arn):
    result = {
        "taskArn": task_arn,
        "stopCode": task.get("stopCode"),
        "stoppedReason": task.get("stoppedReason"),
        "containers": [
            {
                "name": container["name"],
                "exitCode": container.get("exitCode"),
                "reason": container.get("reason"),
            }
            for container in task["containers"]
        ],
    }
    for key in ("startedAt", "stoppedAt"):
        if key in task:
            result[key] = rfc3339(task[key])
    return result


def rfc3339(time):
    text = time.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return text + "Z"

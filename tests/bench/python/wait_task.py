"""Waits until a task has stopped, and stops one that is overdue."""

import waits
from clients import client
from failures import AwsRequestFailed, AwsRequests
from table import now

ecs = client("ecs")

UNSEEN_MS = 60_000
STOPPING_MS = 900_000
PURPOSES = {"migration": "migration", "postDeploy": "post-deploy command"}


class TaskNotFound(Exception):
    pass


def handler(event, context):
    waits.drive(
        "wait-task",
        event,
        awaited=lambda asked: [asked["task"]["taskArn"]],
        told=lambda event: event["detail"].get("taskArn"),
        look=lambda asked: look(asked["task"]),
    )


def look(started):
    """How the task ended; None: it has not."""
    at, task = now(), describe(started)
    if task is None:
        if at < started["at"] + UNSEEN_MS:
            return None
        raise TaskNotFound(f"{started['cluster']} has no task {started['taskArn']}")
    status, limit = task["lastStatus"], started["at"] + started["timeoutSeconds"] * 1000
    if status == "STOPPED":
        how = (task.get("stopCode"), task.get("stoppedReason"))
        overdue = how == ("UserInitiated", reason(started))
        return {"lastStatus": status, "overdue": overdue, "at": at, "stopped": stopped(task)}
    if at <= limit:
        return None
    if at > limit + STOPPING_MS:
        return {"lastStatus": status, "overdue": True, "at": at, "stopped": None}
    if task.get("desiredStatus") != "STOPPED":
        with AwsRequests("ecs:StopTask", started["taskArn"]):
            ecs.stop_task(
                cluster=started["cluster"], task=started["taskArn"], reason=reason(started)
            )
    return None


def reason(started):
    purpose, limit = PURPOSES[started["purpose"]], started["timeoutSeconds"]
    return f"bluegreen: the {purpose} ran longer than {limit} seconds"


def describe(started):
    with AwsRequests("ecs:DescribeTasks", started["taskArn"]):
        answer = ecs.describe_tasks(cluster=started["cluster"], tasks=[started["taskArn"]])
    for failure in answer["failures"]:
        if failure.get("reason") != "MISSING":
            raise AwsRequestFailed(
                "ecs:DescribeTasks",
                started["taskArn"],
                failure.get("reason", "UnknownError"),
                failure.get("detail", "ECS gave no detail"),
            )
    return answer["tasks"][0] if answer["tasks"] else None


def stopped(task):
    result = {
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

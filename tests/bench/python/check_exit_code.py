"""Tells a command that exited 0 in its time from every other end."""

import os
import time
from urllib.parse import quote

import task_definition
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ecs = client("ecs")
logs = client("logs")

LINES = 20
LINE_CHARACTERS = 500
TRIES = 4
PAGES = 10
PAUSE_SECONDS = 0.5


class MigrationFailed(Exception):
    pass


class MigrationNotStarted(Exception):
    pass


ATTEMPTS = 3
PASSING = (
    "network interface",
    "capacity is unavailable",
    "timeout waiting",
    "i/o timeout",
    "context deadline exceeded",
    "tls handshake timeout",
    "connection reset",
    "agent",
)


class TaskFailedToStart(Exception):
    pass


class MigrationStopped(Exception):
    pass


class MigrationTimedOut(Exception):
    pass


def handler(event, context):
    check(event, ("task", "ended"))
    task, ended = event["task"], event["ended"]
    name = task["container"]
    where = f"container {name} of task {task['taskArn']}"
    if ended["overdue"]:
        limit = task["timeoutSeconds"]
        raise MigrationTimedOut(f"{where} ran longer than {limit} seconds.\n{end_of_log(task)}")
    stopped = ended["stopped"]
    if not stopped:
        raise InvalidInput("`ended.stopped`: must be given where the task is not overdue")
    container = next((c for c in stopped["containers"] if c["name"] == name), None)
    exit_code = container and container["exitCode"]
    if exit_code is None and stopped.get("startedAt"):
        raise MigrationStopped(f"{where} has no exit code: {reasons(stopped, container)}")
    if exit_code is None and passes(stopped) and task.get("attempt", 0) < ATTEMPTS:
        raise TaskFailedToStart(f"{where} never started: {reasons(stopped, container)}")
    if exit_code is None:
        raise MigrationNotStarted(f"{where} has no exit code. {reasons(stopped, container)}")
    if exit_code != 0:
        raise MigrationFailed(f"{where} exited with code {exit_code}.\n{end_of_log(task)}")
    if stopped["stopCode"] not in (None, "EssentialContainerExited"):
        raise MigrationStopped(f"{where} was stopped: {reasons(stopped, container)}\n{end_of_log(task)}")
    return {"exitCode": 0, "at": ended["at"]}


def passes(task):
    """Whether the task did not start for a reason that passes by itself."""
    told = [container.get("reason") for container in task["containers"]]
    told = [reason.lower() for reason in [*told, task.get("stoppedReason")] if reason]
    failed = task.get("stopCode") == "TaskFailedToStart"
    return failed and any(part in reason for part in PASSING for reason in told)


def reasons(task, container):
    found = [
        (container or {}).get("reason"),
        task.get("stoppedReason"),
        task.get("stopCode"),
    ]
    return " ".join(reason for reason in found if reason) or "ECS gave no reason."


def end_of_log(task):
    """Only of the log that the task definition names."""
    if task["log"] is None:
        return excerpt(None)
    try:
        described = task_definition.describe(ecs, task["taskDefinition"])
    except AwsRequestFailed as failure:
        return f"Where its log is could not be found out ({failure})."
    own = task_definition.log_location(
        described["taskDefinition"], task["container"], task["taskArn"]
    )
    if own != task["log"]:
        return f"Its log is not read: {task['taskDefinition']} names another one."
    return excerpt(task["log"])


def excerpt(log):
    """The last lines and a way to the rest; trouble with the log does not hide the verdict."""
    if log is None:
        return "Its output does not go to CloudWatch Logs."
    link = way_to(log)
    try:
        lines = last_lines(log)
    except AwsRequestFailed as failure:
        return f"Its log could not be read ({failure}): {link}"
    if not lines:
        return f"Its log is empty so far: {link}"
    return "The last lines of its log:\n" + "\n".join(lines) + f"\nThe whole log: {link}"


def last_lines(log):
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        lines = [
            line.rstrip()[:LINE_CHARACTERS]
            for message in messages_so_far(log)
            for line in message.splitlines()
            if line.strip()
        ]
        if lines:
            return lines[-LINES:]
    return []


def messages_so_far(log):
    """From the last page back, of which any may be empty."""
    is_own = log["region"] == logs.meta.region_name
    of_region = logs if is_own else client("logs", region_name=log["region"])
    messages, token = [], {}
    for _ in range(PAGES):
        with AwsRequests("logs:GetLogEvents", f"{log['stream']} in {log['group']}"):
            page = of_region.get_log_events(
                logGroupName=log["group"],
                logStreamName=log["stream"],
                startFromHead=False,
                limit=LINES,
                **token,
            )
        before = {"nextToken": page["nextBackwardToken"]} if "nextBackwardToken" in page else {}
        if token and before == token:
            break
        messages = [event["message"] for event in page["events"]] + messages
        if not before or len(messages) >= LINES:
            break
        token = before
    return messages


def way_to(log):
    """An AWS elsewhere, as the local one, has no console."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return console_link(log)
    return (
        f"aws logs get-log-events --log-group-name '{log['group']}'"
        f" --log-stream-name '{log['stream']}' --region {log['region']}"
        f" --endpoint-url {endpoint}"
    )


def console_link(log):
    def escape(name):
        return quote(name, safe="").replace("%", "$25")

    region = log["region"]
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{escape(log['group'])}/log-events/{escape(log['stream'])}"
    )

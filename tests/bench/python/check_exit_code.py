"""Tells a migration that exited 0 from every other end."""

import time
from urllib.parse import quote

import boto3

from failures import AwsRequestFailed, AwsRequests, check

logs = boto3.client("logs")

LINES = 20
LINE_CHARACTERS = 1000
TRIES = 4
PAUSE_SECONDS = 0.5


class MigrationFailed(Exception):
    pass


class MigrationNotStarted(Exception):
    pass


def handler(event, context):
    check(event, ("container", "task"), ("log",))
    name = event["container"]
    task = event["task"]
    container = next((c for c in task["containers"] if c["name"] == name), None)
    exit_code = container and container["exitCode"]
    if exit_code == 0:
        return {"exitCode": 0}
    where = f"container {name} of task {task['taskArn']}"
    if exit_code is None:
        raise MigrationNotStarted(f"{where} has no exit code. {reasons(task, container)}")
    raise MigrationFailed(f"{where} exited with code {exit_code}.\n{excerpt(event.get('log'))}")


def reasons(task, container):
    found = [
        (container or {}).get("reason"),
        task.get("stoppedReason"),
        task.get("stopCode"),
    ]
    return " ".join(reason for reason in found if reason) or "ECS gave no reason."


def excerpt(log):
    """The last lines and a link to the rest; trouble with the log does not hide the verdict."""
    if log is None:
        return "Its output does not go to CloudWatch Logs."
    link = console_link(log)
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
        with AwsRequests("logs:GetLogEvents", f"{log['stream']} in {log['group']}"):
            answer = logs.get_log_events(
                logGroupName=log["group"],
                logStreamName=log["stream"],
                startFromHead=False,
                limit=LINES,
            )
        lines = [
            line.rstrip()[:LINE_CHARACTERS]
            for event in answer["events"]
            for line in event["message"].splitlines()
            if line.strip()
        ]
        if lines:
            return lines[-LINES:]
    return []


def console_link(log):
    def escape(name):
        return quote(name, safe="").replace("%", "$25")

    region = log["region"]
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{escape(log['group'])}/log-events/{escape(log['stream'])}"
    )

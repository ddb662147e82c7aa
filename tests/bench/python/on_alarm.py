"""Starts a rollback when an alarm of an application's stack fires."""

from datetime import datetime, timezone

import release
from failures import AwsRequestFailed, AwsRequests

cloudformation = release.cloudformation

ALARMS = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")


class InvalidEvent(Exception):
    pass


def handler(event, context):
    source, kind, account, region = (
        required(event, key) for key in ("source", "detail-type", "account", "region")
    )
    if (source, kind) != ("aws.cloudwatch", "CloudWatch Alarm State Change"):
        return ignored(f"{kind} from {source} is no CloudWatch Alarm State Change.")
    detail = event.get("detail", {})
    alarm = required(detail, "alarmName", "detail.")
    state = detail.get("state", {})
    value = required(state, "value", "detail.state.")
    timestamp = required(state, "timestamp", "detail.state.")
    if value != "ALARM":
        return ignored(f"The alarm {alarm} is {value}.")
    if state.get("actionsSuppressedBy"):
        return ignored(f"The actions of the alarm {alarm} are suppressed.")
    previous = detail.get("previousState") or {}
    if previous.get("value") == "ALARM" and not previous.get("actionsSuppressedBy"):
        return ignored(f"The alarm {alarm} was in ALARM before.")
    at = in_utc(timestamp)
    if (account, region) != (release.ACCOUNT, release.REGION):
        return ignored(f"The alarm {alarm} is elsewhere.")
    stack = stack_of(alarm)
    if stack is None:
        return ignored(f"The alarm {alarm} belongs to no stack.")
    found = {(one["ResourceType"], one["PhysicalResourceId"]) for one in resources(stack)}
    if not any((kind, alarm) in found for kind in ALARMS):
        return ignored(f"In stack {stack} {alarm} is the name of something that is no alarm.")
    if not any(kind == "AWS::ECS::Service" for kind, _ in found):
        return ignored(f"The stack {stack} of the alarm {alarm} has no ECS services.")
    execution = release.start(
        release.execution_name(stack, alarm, (stack, alarm, at)),
        {
            "stack": stack,
            "action": "rollback",
            "startedBy": f"alarm {alarm}"[: release.STARTED_BY_LENGTH],
            "alarm": {"name": alarm, "at": at},
        },
    )
    return {"alarm": alarm, "stack": stack, "execution": execution}


def ignored(reason):
    return {"ignored": reason}


def required(value, key, where=""):
    if not isinstance(value.get(key), str):
        raise InvalidEvent(f"`{where}{key}`: missing")
    return value[key]


def in_utc(timestamp):
    try:
        time = datetime.fromisoformat(timestamp.replace("+0000", "+00:00")).astimezone(timezone.utc)
    except ValueError as error:
        raise InvalidEvent(f"`detail.state.timestamp`: `{timestamp}` is no time") from error
    fraction = f".{time.microsecond:06}".rstrip("0") if time.microsecond else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def stack_of(alarm):
    """Name of the stack that created the alarm."""
    try:
        with AwsRequests("cloudformation:DescribeStackResources", alarm):
            answer = cloudformation.describe_stack_resources(PhysicalResourceId=alarm)
    except AwsRequestFailed as failure:
        if failure.code == "ValidationError":
            return None
        raise
    for resource in answer["StackResources"]:
        if resource.get("PhysicalResourceId") == alarm:
            return resource["StackName"]
    return None


def resources(stack):
    with AwsRequests("cloudformation:ListStackResources", stack):
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        return [resource for page in pages for resource in page["StackResourceSummaries"]]

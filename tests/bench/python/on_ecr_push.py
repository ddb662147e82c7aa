"""Starts a release for every stack that takes a pushed image."""

import hashlib
import json
import os
import re
from fnmatch import fnmatchcase

import boto3

from failures import AwsRequestFailed, AwsRequests

cloudformation = boto3.client("cloudformation")
ecr = boto3.client("ecr")
states = boto3.client("stepfunctions")

STATE_MACHINE_ARN = os.environ["STATE_MACHINE_ARN"]
PART_LENGTH = 31


class InvalidEvent(Exception):
    pass


def handler(event, context):
    for key in ("id", "source", "detail-type", "account", "region"):
        if not isinstance(event.get(key), str):
            raise InvalidEvent(f"`{key}`: missing")
    if (event["source"], event["detail-type"]) != ("aws.ecr", "ECR Image Action"):
        return {"ignored": f"{event['detail-type']} from {event['source']} is no ECR Image Action."}
    detail = event.get("detail", {})
    action = required(detail, "action-type")
    result = required(detail, "result")
    if (action, result) != ("PUSH", "SUCCESS"):
        return {"ignored": f"{action} with result {result} is no successful push."}
    repository = required(detail, "repository-name")
    digest = required(detail, "image-digest")
    tag = detail.get("image-tag")
    if not tag:
        return {"ignored": f"{digest} was pushed to {repository} without a tag."}
    _, partition, _, region, account, _, _ = STATE_MACHINE_ARN.split(":")
    if (event["account"], event["region"]) != (account, region):
        return {"ignored": f"The repository {repository} is elsewhere."}

    named = stacks_of(f"arn:{partition}:ecr:{region}:{account}:repository/{repository}")
    if not named:
        return {"ignored": f"The repository {repository} names no stack."}
    push = {"event": event["id"], "repository": repository, "tag": tag, "digest": digest}
    return {
        "repository": repository,
        "tag": tag,
        "digest": digest,
        "stacks": release_into(named, push),
    }


def required(detail, key):
    if not isinstance(detail.get(key), str) or not detail[key]:
        raise InvalidEvent(f"`detail.{key}`: missing or empty")
    return detail[key]


def stacks_of(repository_arn):
    with AwsRequests("ecr:ListTagsForResource", repository_arn):
        tags = ecr.list_tags_for_resource(resourceArn=repository_arn)["tags"]
    return [
        stack
        for tag in tags
        if tag["Key"] == "bluegreen:stacks"
        for stack in tag["Value"].split()
    ]


def release_into(stacks, push):
    """All stacks are tried; then the first failure is told."""
    answers = []
    first_failure = None
    for stack in stacks:
        try:
            reason = reason_to_skip(stack, push["tag"])
            if reason:
                answers.append({"stack": stack, "skipped": reason})
            else:
                answers.append({"stack": stack, "execution": start(stack, push)})
        except AwsRequestFailed as failure:
            first_failure = first_failure or failure
    if first_failure:
        raise first_failure
    return answers


def reason_to_skip(stack, tag):
    try:
        with AwsRequests("cloudformation:DescribeStacks", stack):
            described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except AwsRequestFailed as failure:
        if failure.code == "ValidationError":
            return f"There is no stack {stack}: {failure}"
        raise
    outputs = {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}
    patterns = outputs.get("ImageTags", "").split()
    if patterns and not any(fnmatchcase(tag, pattern) for pattern in patterns):
        return f"The tag {tag} is none that the stack takes."
    return None


def start(stack, push):
    identity = "\n".join(
        (stack, push["repository"], push["tag"], push["digest"], push["event"])
    )
    name = f"{part(stack)}-{part(push['tag'])}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    execution = STATE_MACHINE_ARN.replace(":stateMachine:", ":execution:") + f":{name}"
    release = {key: push[key] for key in ("tag", "digest", "repository")}
    try:
        with AwsRequests("states:StartExecution", execution):
            started = states.start_execution(
                stateMachineArn=STATE_MACHINE_ARN,
                name=name,
                input=json.dumps({"stack": stack, **release}),
            )
    except AwsRequestFailed as failure:
        if failure.code == "ExecutionAlreadyExists":
            return execution
        raise
    return started["executionArn"]


def part(text):
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text[:PART_LENGTH])

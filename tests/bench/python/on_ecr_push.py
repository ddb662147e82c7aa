"""Starts a release for every stack that takes a pushed image."""

import release
from clients import client
from failures import AwsRequestFailed

ecr = client("ecr")


class InvalidEvent(Exception):
    pass


def handler(event, context):
    for key in ("id", "source", "detail-type", "account", "region", "time"):
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
    if (event["account"], event["region"]) != (release.ACCOUNT, release.REGION):
        return {"ignored": f"The repository {repository} is elsewhere."}

    named = release.stacks_of(ecr, repository)
    if not named:
        return {"ignored": f"The repository {repository} names no stack."}
    push = {
        "event": event["id"],
        "time": event["time"],
        "repository": repository,
        "tag": tag,
        "digest": digest,
    }
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


def release_into(stacks, push):
    """All stacks are tried; then the first failure is told."""
    answers = []
    first_failure = None
    for stack in stacks:
        try:
            reason = release.TakenTags(stack).reason_to_skip(push["tag"])
            if reason:
                answers.append({"stack": stack, "skipped": reason})
            else:
                answers.append({"stack": stack, "execution": start(stack, push)})
        except AwsRequestFailed as failure:
            first_failure = first_failure or failure
    if first_failure:
        raise first_failure
    return answers


def start(stack, push):
    identity = (stack, push["repository"], push["tag"], push["digest"], push["event"])
    return release.start(
        release.execution_name(stack, push["tag"], identity),
        {
            "stack": stack,
            "tag": push["tag"],
            "digest": push["digest"],
            "repository": push["repository"],
            "pushedAt": push["time"],
            "startedBy": f"push of {push['tag']}"[: release.STARTED_BY_LENGTH],
        },
    )

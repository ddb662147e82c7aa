"""Starts releases for pushes whose event was lost."""

import os
import re
import time
from datetime import timezone

import boto3

import release
from failures import AwsRequestFailed, AwsRequests

dynamodb = boto3.client("dynamodb")
ecr = boto3.client("ecr")

RELEASES_TABLE = os.environ["RELEASES_TABLE"]
PATIENCE_SECONDS = 120
NEWEST = 100
TO_THE_SECOND = 19
REFERRER = re.compile(r"sha256-[0-9a-fA-F]{64}")
SINGLE_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
IMAGES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


def handler(event, context):
    """One failure keeps nothing else from being looked at; the first is told in the end."""
    executions = []
    failures = []
    try:
        repositories = all_repositories()
    except AwsRequestFailed as failure:
        failures.append(failure)
        repositories = []
    for repository in repositories:
        try:
            stacks = release.stacks_of(ecr, repository)
            images = tagged(repository) if stacks else []
        except AwsRequestFailed as failure:
            failures.append(failure)
            continue
        for stack in stacks:
            try:
                executions += release_into(repository, images, stack)
            except AwsRequestFailed as failure:
                failures.append(failure)
    if failures:
        raise failures[0]
    return {"executions": executions}


def all_repositories():
    with AwsRequests("ecr:DescribeRepositories", "all repositories"):
        return [
            repository["repositoryName"]
            for page in ecr.get_paginator("describe_repositories").paginate()
            for repository in page["repositories"]
        ]


def tagged(repository):
    """The repository's images that have a tag and are old enough, the newest first."""
    due = int(time.time()) - PATIENCE_SECONDS
    found = []
    with AwsRequests("ecr:DescribeImages", repository):
        pages = ecr.get_paginator("describe_images").paginate(
            repositoryName=repository, filter={"tagStatus": "TAGGED"}
        )
        for page in pages:
            found += [
                detail
                for detail in page["imageDetails"]
                if int(detail["imagePushedAt"].timestamp()) <= due and not is_other_artifact(detail)
            ]
    found.sort(key=lambda detail: int(detail["imagePushedAt"].timestamp()), reverse=True)
    images = [
        {
            "digest": detail["imageDigest"],
            "tags": [tag for tag in detail.get("imageTags", []) if not REFERRER.match(tag)],
            "pushedAt": detail["imagePushedAt"]
            .astimezone(timezone.utc)
            .strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for detail in found
    ]
    return [image for image in images if image["tags"]]


def is_other_artifact(detail):
    artifact = detail.get("artifactMediaType")
    is_single = detail.get("imageManifestMediaType") in SINGLE_MANIFESTS
    return bool(is_single and artifact and artifact not in IMAGES)


class Known:
    """What the table of releases says of a stack."""

    def __init__(self, stack):
        with AwsRequests("dynamodb:Query", RELEASES_TABLE):
            answer = dynamodb.query(
                TableName=RELEASES_TABLE,
                KeyConditionExpression="stack = :stack",
                ExpressionAttributeValues={":stack": {"S": stack}},
                ScanIndexForward=False,
                Limit=NEWEST,
            )
        self.turn = {}
        self.digests = set()
        for item in answer["Items"]:
            if text(item, "item") == "turn":
                self.turn = item
                self.digests |= {text(item, "heldDigest"), text(item, "waitingDigest")}
            else:
                self.digests.add(text(item, "digest"))

    def is_newer(self, repository, pushed_at):
        deployed = text(self.turn, f"deployed:{repository}")
        return deployed is not None and pushed_at[:TO_THE_SECOND] >= deployed[:TO_THE_SECOND]


def text(item, name):
    return item.get(name, {}).get("S")


def release_into(repository, images, stack):
    """Starts the release of the newest image that the stack takes, where nobody has heard of it."""
    known = Known(stack)
    for image in images:
        if not known.is_newer(repository, image["pushedAt"]):
            break
        tag = next((tag for tag in image["tags"] if not release.reason_to_skip(stack, tag)), None)
        if tag is None:
            continue
        if image["digest"] in known.digests:
            break
        return [start(repository, image, tag, stack)]
    return []


def start(repository, image, tag, stack):
    identity = (stack, repository, tag, image["digest"], image["pushedAt"])
    return release.start(
        release.execution_name(stack, tag, identity),
        {
            "stack": stack,
            "tag": tag,
            "digest": image["digest"],
            "repository": repository,
            "pushedAt": image["pushedAt"],
            "startedBy": f"reconciler: lost push of {tag}"[: release.STARTED_BY_LENGTH],
        },
    )

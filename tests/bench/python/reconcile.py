"""Starts releases for pushes whose event was lost."""

import re
import time
from datetime import timezone

import release
import table
from clients import client
from failures import AwsRequestFailed, AwsRequests

ecr = client("ecr")

PATIENCE_SECONDS = 120
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


def release_into(repository, images, stack):
    """Starts the release of the newest image that the stack takes, where nobody has heard of it."""
    turn = table.turn(stack)
    newer = [image for image in images if is_newer(turn, repository, image["pushedAt"])]
    if not newer:
        return []
    taken = release.TakenTags(stack)
    if taken.is_changing:
        return []
    for image in newer:
        tag = next((tag for tag in image["tags"] if not taken.reason_to_skip(tag)), None)
        if tag is None:
            continue
        if is_known(turn, stack, image):
            return []
        return [start(repository, image, tag, stack)]
    return []


def is_newer(turn, repository, pushed_at):
    deployed = turn.get(f"deployed:{repository}")
    return deployed is not None and pushed_at[:TO_THE_SECOND] >= deployed[:TO_THE_SECOND]


def is_known(turn, stack, image):
    """Whether a release of the image has begun since it was pushed."""
    if image["digest"] in (turn.get("heldDigest"), turn.get("waitingDigest")):
        return True
    for record in table.records(stack):
        begun = record.get("startedAt")
        if begun and begun[:TO_THE_SECOND] < image["pushedAt"][:TO_THE_SECOND]:
            return False
        if record.get("digest") == image["digest"]:
            return True
    return False


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

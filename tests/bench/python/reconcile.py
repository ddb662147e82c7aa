"""Starts releases for pushes whose event was lost."""

import hashlib
import json
import re
import time
from datetime import datetime, timedelta, timezone

import release
import table
from clients import client
from failures import AwsRequestFailed, AwsRequests

ecr = client("ecr")
tagging = client("resourcegroupstaggingapi")

PATIENCE_SECONDS = 120
YOUNG_SECONDS = 30
RESERVE_SECONDS = 30
SECONDS_FOR_ONE = 60
SEARCHES = "/searches"
MOST_TAGS = 20_000
MOST_MOVED = 100
HALF = 8
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


class SearchUnfinished(Exception):
    pass


class OutOfTime(Exception):
    pass


def handler(event, context):
    """One failure keeps nothing else from being looked at; the first is told in the end."""
    until = time.time() + context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    linked = linked_repositories()
    last = table.item(SEARCHES, "last") or {}
    known = json.loads(last.get("looked", "{}"))
    looked = {name: known[name] for name in linked if name in known}
    executions, failures, too_large, left = [], [], [], []
    names = sorted(linked)
    begin = sum(name < last.get("next", "") for name in names)
    names = names[begin:] + names[:begin]
    for number, name in enumerate(names):
        if time.time() >= until:
            left = names[number:]
            break
        began = now()
        try:
            until_of_one = min(until, time.time() + SECONDS_FOR_ONE)
            found = arrivals(name, known.get(name), began, until_of_one)
        except OutOfTime:
            if time.time() >= until and number > 0:
                left = names[number:]
                break
            too_large.append(name)
            continue
        except AwsRequestFailed as failure:
            failures.append(failure)
            continue
        looked[name] = began
        for stack in linked[name]:
            try:
                executions += release_into(name, found, stack)
            except AwsRequestFailed as failure:
                failures.append(failure)
    try:
        note_search(last, looked, left)
    except AwsRequestFailed as failure:
        failures.append(failure)
    if failures:
        raise failures[0]
    if left or too_large:
        raise SearchUnfinished(f"not looked at: {left}, too large: {too_large}")
    return {"executions": executions}


def now():
    return whole_seconds(datetime.now(timezone.utc))


def whole_seconds(moment):
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def before(text, seconds):
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return whole_seconds(moment - timedelta(seconds=seconds))


def linked_repositories():
    """The stacks that each repository with the tag names."""
    linked = {}
    with AwsRequests("tag:GetResources", "all repositories"):
        pages = tagging.get_paginator("get_resources").paginate(
            ResourceTypeFilters=["ecr:repository"],
            TagFilters=[{"Key": "bluegreen:stacks"}],
            ResourcesPerPage=100,
        )
        for page in pages:
            for resource in page["ResourceTagMappingList"]:
                _, name = resource["ResourceARN"].split(":repository/")
                stacks = [
                    stack
                    for tag in resource["Tags"]
                    if tag["Key"] == "bluegreen:stacks"
                    for stack in tag["Value"].split()
                ]
                if stacks:
                    linked[name] = list(dict.fromkeys(stacks))
    return linked


def note_search(last, looked, left):
    has_stopped_at = left[0] if left else None
    if looked == json.loads(last.get("looked", "{}")) and has_stopped_at == last.get("next"):
        return
    update = table.Update(SEARCHES, "last")
    update.set(looked=table.compact(looked))
    if left:
        update.set(next=left[0])
    else:
        update.remove("next")
    table.write([update])


def tagged(repository, until):
    """The repository's images that have a tag, the newest first."""
    found = []
    with AwsRequests("ecr:DescribeImages", repository):
        pages = ecr.get_paginator("describe_images").paginate(
            repositoryName=repository,
            filter={"tagStatus": "TAGGED"},
            PaginationConfig={"PageSize": 1000},
        )
        for page in pages:
            found += [detail for detail in page["imageDetails"] if not is_other_artifact(detail)]
            if "nextToken" in page and time.time() >= until:
                raise OutOfTime
    images = [
        {
            "digest": detail["imageDigest"],
            "tags": [tag for tag in detail.get("imageTags", []) if not REFERRER.match(tag)],
            "pushedAt": whole_seconds(detail["imagePushedAt"]),
        }
        for detail in found
    ]
    images.sort(key=lambda image: image["pushedAt"], reverse=True)
    return [image for image in images if image["tags"]]


def arrivals(repository, looked, began, until):
    """Images that were pushed, and those that got a tag since the last look, the newest first."""
    images = tagged(repository, until)
    item = table.item(SEARCHES, f"tags#{repository}") or {}
    seen = compare(item, looked, images, began)
    if "version" not in item or any(seen[key] != item.get(key) for key in seen):
        update = table.Update(
            SEARCHES, f"tags#{repository}", {"version": item.get("version")}
        ).set(version=item.get("version", 0) + 1, **seen)
        if seen["since"] is None:
            update.remove("since")
        table.write([update])
    due = before(began, PATIENCE_SECONDS)
    found = [image for image in images if image["pushedAt"] <= due]
    found += [
        {"digest": moved["digest"], "tags": [moved["tag"]], "pushedAt": moved["after"]}
        for moved in json.loads(seen["moved"])
        if moved["seen"] <= due
    ]
    return sorted(found, key=lambda image: image["pushedAt"], reverse=True)


def compare(item, looked, images, began):
    """What is to be remembered of a repository; tags that have moved since the last look, too."""
    found = [(image, tag) for image in images for tag in image["tags"]]
    kept = [(image, tag, mark(tag, image["digest"])) for image, tag in found[:MOST_TAGS]]
    tags_now = {mark[:HALF] for _, _, mark in kept}
    gone = [mark for mark in marks(item.get("tags", "")) if mark[:HALF] not in tags_now]
    moved = []
    if looked and "version" in item:
        known = {*marks(item["tags"]), *marks(item.get("gone", ""))}
        old = before(looked, YOUNG_SECONDS)
        since = item.get("since", "")
        moved = [
            {"tag": tag, "digest": image["digest"], "after": looked, "seen": began}
            for image, tag, mark in kept
            if mark not in known and since < image["pushedAt"] < old
        ]
        tags_of = {image["digest"]: image["tags"] for image in images}
        moved += [
            earlier
            for earlier in json.loads(item.get("moved", "[]"))
            if earlier["tag"] in tags_of.get(earlier["digest"], [])
        ]
    is_cut = len(found) > MOST_TAGS
    return {
        "tags": "".join(mark for _, _, mark in kept),
        "gone": "".join(gone[: MOST_TAGS - len(kept)]),
        "since": kept[-1][0]["pushedAt"] if is_cut else None,
        "moved": table.compact(moved[:MOST_MOVED]),
    }


def mark(tag, digest):
    return "".join(hashlib.sha256(text.encode()).hexdigest()[:HALF] for text in (tag, digest))


def marks(text):
    return [text[start : start + 2 * HALF] for start in range(0, len(text), 2 * HALF)]


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

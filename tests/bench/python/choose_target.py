"""Chooses where the services go back to, by the records of the stack's releases."""

import json

import images
import table
import task_definition
from failures import AwsRequestFailed, InvalidInput, check

HALF_DONE = ("abandoned", "inProgress")
BEFORE = object()
# So many releases further back are asked about where an image is gone.
FURTHER_BACK = 10


class NothingToGoBackTo(Exception):
    pass


class RollbackImageNotFound(Exception):
    pass


def handler(event, context):
    check(event, ("plan", "execution", "failed", "touched"))
    if event["failed"]:
        return after_failure(event)
    return when_asked(event)


def when_asked(event):
    release = event["plan"]["release"]
    stack, name = release["stack"], release["to"]
    current = table.turn(stack).get("currentRecord")
    current = table.record(stack, current) if current else None
    if not counts(current):
        current = None
    releases = Releases(release)
    chosen = first = None
    if name:
        chosen = releases.newest(lambda one: name_of(one) == name and is_good(one))
    else:
        chosen, first = asked(current, releases)
    if chosen is None and first is None:
        raise NothingToGoBackTo(f"Stack {stack} has no release to go back to.")
    back = Back(stack, chosen, first)
    now = {one["service"] for one in event["plan"]["services"]}
    services = [one for one in back.services if one["service"] in now]
    if not services:
        raise NothingToGoBackTo(f"Stack {stack} has none of the services any more.")
    comes_back = chosen and current and chosen["item"] == current["item"]
    if not comes_back and not release["force"]:
        check_images(stack, back, chosen or first, current, releases)
    taken = taken_back(current, releases)
    if taken and chosen and taken["item"] == chosen["item"]:
        taken = None
    return to(True, back, services, releases, taken)


def asked(current, releases):
    """The release, or the first one, before which the services ran what they go back to."""
    if current is None:
        good = releases.newest(is_good)
        half = releases.newest(lambda one: is_half_deployed(one) and "touched" in one)
        return good, None if good or not half else before_the_first(half, releases)
    before = releases.last_to_change(current["repository"])
    if before and is_half_deployed(before) and is_good(current):
        if before["item"] > current["item"]:
            return current, None
    good = releases.newest(
        lambda one: is_good(one)
        and one["repository"] == current["repository"]
        and one["item"] < deployment_of(current)
        and digest_of(one) != digest_of(current)
    )
    if good or not digest_of(current):
        return good, None
    deployment = releases.newest(lambda one: one["item"] == deployment_of(current))
    return None, deployment and before_the_first(deployment, releases)


def before_the_first(release, releases):
    """None: its own image ran before it."""
    first = release
    while first:
        release = first
        first = releases.newest(
            lambda one: one["repository"] == release["repository"]
            and one["item"] < release["item"]
            and came_after(release, one)
        )
    ran = ran_before(release)
    return None if ran and all(is_own(image, release) for image in ran) else release


def came_after(release, earlier):
    if not digest_of(earlier):
        return False
    ran = ran_before(release)
    if not ran:
        return digest_of(earlier) == digest_of(release)
    return any(image.endswith(f"@{digest_of(earlier)}") for image in ran)


def is_own(image, release):
    match = task_definition.IMAGE.fullmatch(image)
    if match["digest"]:
        return match["digest"] == digest_of(release)
    return (match["tag"] or "latest") == release.get("tag")


def taken_back(current, releases):
    for one in releases.read:
        if is_half_deployed(one) and "touched" in one:
            is_newer = current is None or one["item"] > current["item"]
            if is_newer and (current is None or one["repository"] == current["repository"]):
                return one
    return current


def check_images(stack, back, chosen, current, releases):
    """An image that nobody can pull any more is told before any service is touched."""
    lost = missing(back.images)
    if not lost:
        return
    seen = {digest_of(chosen), current and digest_of(current), None}
    further = []
    for one in releases:
        is_earlier = one["item"] < chosen["item"] and one["repository"] == chosen["repository"]
        if is_good(one) and is_earlier and digest_of(one) not in seen:
            seen.add(digest_of(one))
            further.append(one)
        if len(further) == FURTHER_BACK:
            break
    gone = missing([one["image"] for one in further])
    instead = next((name_of(one) for one in further if one["image"] not in gone), "nothing")
    raise RollbackImageNotFound(f"{stack}: ECR does not have {lost[0]}; {instead} is there.")


def missing(references):
    if not references:
        return []
    try:
        return images.missing(references)
    except AwsRequestFailed as failure:
        print(failure)
        return []


def after_failure(event):
    release, planned = event["plan"]["release"], event["plan"]["services"]
    repository = release["repository"]
    if not repository:
        raise InvalidInput("`plan.release.repository`: only a deployment is taken back")
    suspect = event["touched"] or event["plan"]["action"] == "verify"
    now = [bare(one) for one in planned]
    releases = Releases(release)
    try:
        chosen, first, good = failed(repository, suspect, releases)
    except AwsRequestFailed:
        before = next((one for one in releases.read if tells(one, repository)), None)
        if suspect or (before and is_half_done(before)):
            raise
        return to_before(now, None, before is None)
    if chosen is BEFORE:
        return to_before(now, good, False)
    if chosen is None and first is None:
        raise NothingToGoBackTo(f"Nothing is known of what stack {release['stack']} ran before.")
    back = Back(release["stack"], chosen, first)
    then = {one["service"]: one for one in back.services}
    services = [then.get(one["service"], one) for one in now]
    return to(False, back, services, releases, None)


def failed(repository, suspect, releases):
    """Where the services go, or before which release, and the last good one."""
    good = releases.newest(lambda one: is_good(one) and one["repository"] == repository)
    before = releases.last_to_change(repository)
    half_done = before if before and is_half_done(before) else None
    is_rollback = half_done and half_done["action"] == "rollback"
    if is_rollback and "restoresBefore" in half_done:
        first = releases.newest(lambda one: one["item"] == half_done["restoresBefore"])
        if first:
            return None, first, good
    restored = is_rollback and half_done.get("restores")
    chosen = None
    if restored:
        chosen = releases.newest(lambda one: one["item"] == restored)
    elif suspect or half_done:
        chosen = good
    return chosen or (None if suspect else BEFORE), None, good


class Releases:
    """Those of a stack that count, newest first, read as far as they are needed."""

    def __init__(self, own):
        self.read = []
        self.rest = (
            one
            for one in table.records(own["stack"])
            if one["item"] != own["record"] and counts(one)
        )

    def __iter__(self):
        yield from list(self.read)
        for one in self.rest:
            self.read.append(one)
            yield one

    def newest(self, holds):
        return next((one for one in self if holds(one)), None)

    def last_to_change(self, repository):
        return self.newest(lambda one: tells(one, repository))

    def newer_than(self, record):
        for one in self:
            if one["item"] <= record:
                return
            yield one


class Back:
    """What the services go back to: what a release ran, or what they ran before the first one."""

    def __init__(self, stack, chosen, first):
        self.chosen, self.first, self.is_before = chosen, first, first is not None
        if first:
            self.services = services_of(stack, first, "before")
        else:
            self.services = services_of(stack, chosen, "services")
            if restored := chosen.get("restoresBefore"):
                named = {"item": restored, "repository": chosen["repository"]}
                self.first = table.record(stack, restored) or named
        if self.first:
            self.images = ran_before(self.first)
            image = self.images[0] if len(self.images) == 1 else None
            self.serving = image and {"repository": self.first["repository"], "image": image}
        else:
            self.images, self.serving = [chosen["image"]], serving(chosen)

    def migrations(self, releases):
        newer = list(releases.newer_than((self.chosen or self.first)["item"]))
        if self.is_before:
            newer.append(self.first)
        return [
            f"{one.get('tag') or one['digest']} (task {one['migration']})"
            for one in newer
            if "migration" in one
        ]


def counts(record):
    """Whether it had an image, or brought back what ran before the first release."""
    if record is None or "repository" not in record:
        return False
    return "restoresBefore" in record or ("digest" in record and "image" in record)


def is_good(record):
    return record["verdict"] == "succeeded"


def is_half_done(record):
    return record["verdict"] in HALF_DONE or record.get("error") == "RollbackFailed"


def is_half_deployed(record):
    return is_half_done(record) and record["action"] == "deploy"


def tells(record, repository):
    certain = record["verdict"] in ("succeeded", "rolledBack")
    return record["repository"] == repository and (certain or is_half_done(record))


def name_of(record):
    return record["item"].split("#", 2)[2]


def digest_of(record):
    return None if "restoresBefore" in record else record.get("digest")


def deployment_of(record):
    return record.get("restores") or record.get("restoresBefore") or record["item"]


def ran_before(record):
    return json_of(record.get("imagesBefore"))


def services_of(stack, release, attribute):
    record = table.record(stack, release["item"]) or {}
    return [bare(one) for one in json_of(record.get(attribute))]


def json_of(text):
    return json.loads(text) if text else []


def bare(service):
    return {key: service[key] for key in ("cluster", "service", "taskDefinition")}


def serving(record):
    if not record or "restoresBefore" in record:
        return None
    return {"repository": record["repository"], "image": record["image"]}


def named(record):
    return record and {
        "record": record["item"],
        "repository": record["repository"],
        "tag": record.get("tag"),
        "digest": digest_of(record),
    }


def to(requested, back, services, releases, taken):
    good = back.chosen
    return {
        "requested": requested,
        "release": None
        if back.first
        else {
            "record": good["item"],
            "repository": good["repository"],
            "tag": good.get("tag"),
            "digest": good["digest"],
            "image": good["image"],
            "restores": deployment_of(good),
        },
        "first": named(back.first),
        "takenBack": named(taken),
        "serving": back.serving,
        "services": services,
        "migrations": back.migrations(releases),
        "unread": False,
    }


def to_before(now, good, unread):
    return {
        "requested": False,
        "release": None,
        "first": None,
        "takenBack": None,
        "serving": serving(good),
        "services": now,
        "migrations": [],
        "unread": unread,
    }

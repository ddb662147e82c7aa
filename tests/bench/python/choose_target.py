"""Chooses where the services go back to, by the records of the stack's releases."""

import json

import table
from failures import AwsRequestFailed, InvalidInput, check

HALF_DONE = ("abandoned", "inProgress")
BEFORE = object()


class NothingToGoBackTo(Exception):
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
    if not has_image(current):
        current = None
    releases = Releases(release)
    if name:
        chosen = releases.newest(lambda one: name_of(one) == name and is_good(one))
    else:
        chosen = asked(current, releases)
    if chosen is None:
        raise NothingToGoBackTo(f"Stack {stack} has no release to go back to.")
    then = {one["service"]: one for one in services_of(stack, chosen)}
    now = {one["service"] for one in event["plan"]["services"]}
    services = [one for arn, one in then.items() if arn in now]
    if not services:
        raise NothingToGoBackTo(f"Stack {stack} has none of the services of {chosen['item']}.")
    return to_release(True, chosen, services, releases)


def asked(current, releases):
    if current is None:
        return releases.newest(is_good)
    before = releases.last_to_change(current["repository"])
    if before and is_half_done(before) and before["action"] == "deploy" and is_good(current):
        if before["item"] > current["item"]:
            return current
    return releases.newest(
        lambda one: is_good(one)
        and one["repository"] == current["repository"]
        and one["item"] < deployment_of(current)
        and one["digest"] != current["digest"]
    )


def after_failure(event):
    release, planned = event["plan"]["release"], event["plan"]["services"]
    repository = release["repository"]
    if not repository:
        raise InvalidInput("`plan.release.repository`: only a deployment is taken back")
    suspect = event["touched"] or event["plan"]["action"] == "verify"
    now = [bare(one) for one in planned]
    releases = Releases(release)
    try:
        chosen, good = failed(repository, suspect, releases)
    except AwsRequestFailed:
        before = next((one for one in releases.read if tells(one, repository)), None)
        if suspect or (before and is_half_done(before)):
            raise
        return to_before(now, None, before is None)
    if chosen is BEFORE:
        return to_before(now, good, False)
    if chosen is None:
        raise NothingToGoBackTo(f"Nothing is known of what stack {release['stack']} ran before.")
    then = {one["service"]: one for one in services_of(release["stack"], chosen)}
    services = [then.get(one["service"], one) for one in now]
    return to_release(False, chosen, services, releases)


def failed(repository, suspect, releases):
    """Where the services go, and the last good release."""
    good = releases.newest(lambda one: is_good(one) and one["repository"] == repository)
    before = releases.last_to_change(repository)
    half_done = before if before and is_half_done(before) else None
    restored = half_done and half_done["action"] == "rollback" and half_done.get("restores")
    chosen = None
    if restored:
        chosen = releases.newest(lambda one: one["item"] == restored)
    elif suspect or half_done:
        chosen = good
    return chosen or (None if suspect else BEFORE), good


class Releases:
    """Those of a stack that had an image, newest first, read as far as they are needed."""

    def __init__(self, own):
        self.read = []
        self.rest = (
            one
            for one in table.records(own["stack"])
            if one["item"] != own["record"] and has_image(one)
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


def has_image(record):
    return record is not None and all(key in record for key in ("repository", "digest", "image"))


def is_good(record):
    return record["verdict"] == "succeeded"


def is_half_done(record):
    return record["verdict"] in HALF_DONE or record.get("error") == "RollbackFailed"


def tells(record, repository):
    certain = record["verdict"] in ("succeeded", "rolledBack")
    return record["repository"] == repository and (certain or is_half_done(record))


def name_of(record):
    return record["item"].split("#", 2)[2]


def deployment_of(record):
    return record.get("restores", record["item"])


def services_of(stack, chosen):
    record = table.record(stack, chosen["item"]) or {}
    return [bare(one) for one in json_of(record.get("services"))]


def json_of(text):
    return json.loads(text) if text else []


def bare(service):
    return {key: service[key] for key in ("cluster", "service", "taskDefinition")}


def serving(record):
    return record and {"repository": record["repository"], "image": record["image"]}


def to_release(requested, chosen, services, releases):
    newer = releases.newer_than(chosen["item"])
    return {
        "requested": requested,
        "release": {
            "record": chosen["item"],
            "repository": chosen["repository"],
            "tag": chosen.get("tag"),
            "digest": chosen["digest"],
            "image": chosen["image"],
            "restores": deployment_of(chosen),
        },
        "serving": serving(chosen),
        "services": services,
        "migrations": [
            f"{one.get('tag') or one['digest']} (task {one['migration']})"
            for one in newer
            if "migration" in one
        ],
        "unread": False,
    }


def to_before(now, good, unread):
    return {
        "requested": False,
        "release": None,
        "serving": serving(good),
        "services": now,
        "migrations": [],
        "unread": unread,
    }

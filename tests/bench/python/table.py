"""The table of releases: who has the turn of a stack, and what became of each release."""

import json
import os
from contextlib import contextmanager
from datetime import datetime, timezone

from clients import client
from failures import AwsRequestFailed, AwsRequests

dynamodb = client("dynamodb")

TABLE = os.environ["RELEASES_TABLE"]
TRIES = 8
PAGE = 100
CONDITION_FAILED = "ConditionalCheckFailed"
HELD = (
    "holder",
    "heldSince",
    "heldRecord",
    "heldDigest",
    "heldRedrives",
    "heldOrder",
    "heldFor",
    "goesBack",
)
# What says that a call is about to change something.
CHANGING = ("changingBy", "changingUntil")
# A turn is as it was seen where these are.
AS_HELD = ("holder", "heldSince", *CHANGING, "goesBack")
# What a call that came late may not begin once its try goes back.
FORWARD = ("migration", "services")
CLOCKS_MS = 2000
IN_LINE = ("waiting", "waitingOrder", "waitingDigest", "waitingFor")


class ExecutionRedriven(Exception):
    pass


class CallInProgress(Exception):
    pass


def now():
    """Milliseconds since 1970."""
    return int(datetime.now(timezone.utc).timestamp() * 1000)


def until(context):
    """When Lambda ends this call."""
    return now() + context.get_remaining_time_in_millis()


def call_of(context):
    return {"id": context.aws_request_id, "until": until(context)}


def rfc3339(millis):
    time = datetime.fromtimestamp(millis // 1000, timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{millis % 1000:03}Z"


def millis_of(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def compact(value):
    return json.dumps(value, separators=(",", ":"))


# Reads.


def turn(stack):
    return item(stack, "turn") or {}


def record(stack, key):
    return item(stack, key)


def item(stack, key):
    with AwsRequests("dynamodb:GetItem", TABLE):
        answer = dynamodb.get_item(
            TableName=TABLE,
            Key={"stack": {"S": stack}, "item": {"S": key}},
            ConsistentRead=True,
        )
    return plain(answer["Item"]) if "Item" in answer else None


def records(stack):
    """The releases of a stack, newest first; a page is read when it is needed."""
    with AwsRequests("dynamodb:Query", TABLE):
        pages = dynamodb.get_paginator("query").paginate(
            TableName=TABLE,
            KeyConditionExpression="#stack = :stack AND begins_with(#item, :releases)",
            ExpressionAttributeNames={"#stack": "stack", "#item": "item"},
            ExpressionAttributeValues={":stack": {"S": stack}, ":releases": {"S": "release#"}},
            ScanIndexForward=False,
            ConsistentRead=True,
            PaginationConfig={"PageSize": PAGE},
        )
        for page in pages:
            yield from map(plain, page["Items"])


def plain(attributes):
    values = {}
    for name, value in attributes.items():
        values[name] = int(value["N"]) if "N" in value else value.get("S")
    return values


# Changes. Each is decided on what was read, on condition that it still is so.


class Update:
    """A change of one item. An expected value of None: the attribute is not there."""

    def __init__(self, stack, key, expected=()):
        self.key = {"stack": {"S": stack}, "item": {"S": key}}
        self.names, self.values = {}, {}
        self.conditions = []
        for name, value in dict(expected).items():
            if value is None:
                self.conditions.append(f"attribute_not_exists({self.name(name)})")
            else:
                self.conditions.append(f"{self.name(name)} = {self.value(value)}")
        self.sets, self.removes, self.is_gone = [], [], False

    def name(self, name):
        for placeholder, known in self.names.items():
            if known == name:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def value(self, value):
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = {"N": str(value)} if isinstance(value, int) else {"S": value}
        return placeholder

    def set(self, **attributes):
        return self.set_all(attributes)

    def set_all(self, attributes):
        """None is left as it is."""
        for name, value in attributes.items():
            if value is not None:
                self.sets.append(f"{self.name(name)} = {self.value(value)}")
        return self

    def set_first(self, **attributes):
        for name, value in attributes.items():
            if value is not None:
                name = self.name(name)
                self.sets.append(f"{name} = if_not_exists({name}, {self.value(value)})")
        return self

    def remove(self, *names):
        self.removes += [self.name(name) for name in names]
        return self

    def delete(self):
        self.is_gone = True
        return self

    def request(self):
        request = {"TableName": TABLE, "Key": self.key, "ExpressionAttributeNames": self.names}
        if self.values:
            request["ExpressionAttributeValues"] = self.values
        if self.conditions:
            request["ConditionExpression"] = " AND ".join(self.conditions)
        if self.is_gone:
            return {"Delete": request}
        if not self.sets and not self.removes:
            return {"ConditionCheck": request}
        parts = [("SET", self.sets), ("REMOVE", self.removes)]
        request["UpdateExpression"] = " ".join(
            f"{verb} {', '.join(several)}" for verb, several in parts if several
        )
        return {"Update": request}


def write(updates):
    """Whether all conditions held."""
    try:
        with AwsRequests("dynamodb:TransactWriteItems", TABLE):
            dynamodb.transact_write_items(TransactItems=[update.request() for update in updates])
    except AwsRequestFailed as failure:
        if CONDITION_FAILED in str(failure):
            return False
        raise
    return True


def change(stack, decide):
    """Whether there was something to change; read and decided anew where a condition failed."""
    for _ in range(TRIES):
        updates = decide(turn(stack))
        if updates is None:
            return False
        if write(updates):
            return True
    raise AwsRequestFailed(
        "dynamodb:TransactWriteItems", TABLE, CONDITION_FAILED, f"The items of {stack} change"
    )


def change_own(stack, execution, decide):
    """Only for who has the turn."""

    def decide_own(turn):
        return decide(turn) if is_own(turn, execution) else None

    if not change(stack, decide_own):
        raise ExecutionRedriven(f"{execution['id']} has not the turn of stack {stack}")


def is_own(turn, execution):
    holds = turn.get("holder") == execution["id"]
    return holds and turn.get("heldRedrives", 0) == execution["redrives"]


def of_turn(turn, stack):
    """A change of the turn as it is held."""
    return Update(stack, "turn", {name: turn.get(name) for name in AS_HELD})


def changing_until(turn, stack, until):
    update = of_turn(turn, stack)
    return update.set(changingUntil=max(until, turn.get("changingUntil", until)))


def alone(turn, stack, call):
    """A change of the turn by the only call that changes something."""
    check_alone(turn, stack, call["id"])
    return changing_until(turn, stack, call["until"]).set(changingBy=call["id"])


def check_alone(turn, stack, own=None):
    is_other = turn.get("changingBy", own) != own
    if is_other and now() < turn["changingUntil"] + CLOCKS_MS:
        raise CallInProgress(f"An earlier call may still change stack {stack}")


def begin(release, execution, changing, call, before=None, services=None, target=None):
    """Tells what is about to change, which proves that the turn is this execution's."""

    def decide(turn):
        if changing in FORWARD and "goesBack" in turn:
            return None
        record = Update(release["stack"], release["record"]).set(
            changing=changing,
            services=services and compact(services),
            image=release["image"],
        )
        images = before and compact(release.get("imagesBefore", []))
        record.set_first(before=before and compact(before), imagesBefore=images)
        if target:
            restoring(record, target)
        if changing == "rollback" or services is not None:
            record.set_first(touched=execution["redrives"])
        record.remove("awaits")
        of_turn = alone(turn, release["stack"], call)
        if changing == "rollback":
            of_turn.set(goesBack=execution["id"])
        return [of_turn.remove("migrated") if changing == "migration" else of_turn, record]

    with finishing(release["stack"], call, only_after=AwsRequestFailed):
        change_own(release["stack"], execution, decide)


def restoring(record, target):
    """What a rollback brings back that was asked for."""
    good, first = target["release"], target["first"]
    if good:
        keys = ("restores", "repository", "digest", "image", "tag")
        return record.set(**{key: good[key] for key in keys}).remove("restoresBefore")
    record.set(repository=first["repository"], restoresBefore=first["record"])
    return record.remove("restores", "digest", "image", "tag")


def begin_settling(release, execution, until):
    """Several calls may settle what was left at once."""

    def decide(turn):
        if "unsettled" not in turn:
            return None
        record = Update(release["stack"], release["record"])
        record.set(changing="settling", image=release["image"])
        return [changing_until(turn, release["stack"], until), record]

    change_own(release["stack"], execution, decide)


@contextmanager
def finishing(stack, call, only_after=None):
    """Tells that a call changes nothing any more, however it ends."""
    try:
        yield
    except Exception as failure:
        if only_after is None or isinstance(failure, only_after):
            finish(stack, call)
        raise
    if only_after is None:
        finish(stack, call)


def finish(stack, call):
    update = Update(stack, "turn", {"changingBy": call["id"]})
    try:
        write([update.remove(*CHANGING)])
    except AwsRequestFailed as failure:
        print(failure)


def started_migration(release, execution, task, line):
    def decide(turn):
        record = Update(release["stack"], release["record"])
        record = record.set(migrationCommand=json.dumps(line), migration=task)
        return [record, of_turn(turn, release["stack"])]

    change_own(release["stack"], execution, decide)


def migrated(release, execution, migrations, command):
    """Tells which migrations the database has: its own, or those for which they were left out."""
    name = execution["id"].rsplit(":", 1)[-1]

    def decide(turn):
        has = turn.get("migrated")
        if command:
            own = {key: command[key] for key in ("service", "container", "line")}
            own |= {"release": name, "repository": release["repository"]}
            has = compact({**own, "fingerprint": migrations["fingerprint"]})
        if not has:
            return None
        record = Update(release["stack"], release["record"]).set(
            migrations=migrations["fingerprint"],
            migrationsOf=None if migrations["sameAs"] == name else migrations["sameAs"],
        )
        return [of_turn(turn, release["stack"]).set(migrated=has), record]

    change_own(release["stack"], execution, decide)


def awaits(stack, key, execution, text):
    """What the deployment of a release waits for; None: it goes on."""

    def decide(turn):
        record = Update(stack, key)
        if text is None:
            record.set(resumedAt=now()).remove("awaits")
        else:
            record.set(awaits=text)
        return [record, of_turn(turn, stack)]

    change_own(stack, execution, decide)


def settled(stack, execution):
    change_own(stack, execution, lambda turn: [of_turn(turn, stack).remove("unsettled")])


def facts(release, execution, retention_days):
    return {
        "execution": execution["id"],
        "action": release["action"],
        "startedBy": release["startedBy"],
        "startedAt": release["startedAt"],
        "expiresAt": now() // 1000 + retention_days * 86_400,
        "repository": release["repository"],
        "digest": release["digest"],
        "tag": release["tag"],
        "commit": release.get("commit"),
        "commitUrl": release.get("commitUrl"),
        "pushedAt": release["pushedAt"],
    }

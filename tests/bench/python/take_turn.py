"""Waits until a release has the turn of its stack."""

import json
import os
import time

import table
import waits
from clients import client
from failures import AwsRequestFailed, AwsRequests

states = client("stepfunctions")

RETENTION_DAYS = int(os.environ["RECORD_RETENTION_DAYS"])
LOOKS = 20
MAY_BE_NEW_MS = 10 * 60 * 1000
LAST_LOOK_MS = 15_000
# A call may finish before its time.
PAUSE_MS = 5000
AGAIN, WAIT = object(), object()


def handler(event, context):
    waits.drive(
        "take-turn",
        event,
        awaited=lambda asked: [awaited(asked["release"]["stack"])],
        told=turn_of,
        look=lambda asked: look(asked, table.until(context) - LAST_LOOK_MS),
    )


def awaited(stack):
    return f"turn#{stack}"


def turn_of(event):
    """The turn that a release may have had which has ended."""
    if event["detail-type"] != "Step Functions Execution Status Change":
        return None
    try:
        return awaited(json.loads(event["detail"]["input"])["stack"])
    except (KeyError, TypeError, ValueError):
        return None


def hand_on(stack):
    waits.tell("take-turn", awaited(stack), lambda asked: look(asked, 0))


def look(me, patient_until):
    """None: another one is before this release."""
    if me["action"] == "end":
        return without_turn(None)
    looks = 0
    while looks < LOOKS:
        step = Seen(me).step()
        if step is AGAIN:
            looks += 1
            continue
        if isinstance(step, dict):
            return step
        if step is WAIT or step > patient_until:
            return None
        time.sleep(min(max(step - table.now(), 0), PAUSE_MS) / 1000)
    return None


def without_turn(by):
    return {"taken": False, "supersededBy": by, "at": table.now(), "touched": False}


class Seen:
    """The turn as it was read, and what follows from it for a release."""

    def __init__(self, me):
        self.me, self.release = me, me["release"]
        self.stack, self.id = self.release["stack"], me["execution"]["id"]
        self.turn = table.turn(self.stack)

    def step(self):
        """An answer, AGAIN, WAIT, or until when to wait."""
        turn = self.turn
        if turn.get("holder") == self.id:
            return self.had_before()
        if turn.get("waiting") == self.id or self.release["alarm"]:
            return self.at_the_head()
        newer = turn.get("heldOrder", "") > self.release["order"]
        if newer and self.is_rival_of(turn["heldFor"]) and not self.is_dead("holder"):
            return without_turn(turn["holder"])
        return self.behind()

    def had_before(self):
        known, mine = self.turn.get("heldRedrives", 0), self.me["execution"]["redrives"]
        if known == mine:
            touched = self.own_record().get("touched", mine) < mine
            at = table.millis_of(self.turn["heldSince"])
            return {"taken": True, "supersededBy": None, "at": at, "touched": touched}
        if known > mine:
            return WAIT
        retaken = table.of_turn(self.turn, self.stack).set(
            heldRedrives=mine, heldSince=table.rfc3339(table.now()), unsettled=self.id
        )
        return self.last_call() or self.write([retaken.remove(*table.CHANGING, "goesBack")])

    def at_the_head(self):
        if "holder" not in self.turn:
            return self.take()
        if not self.is_dead("holder"):
            return WAIT
        return self.last_call() or self.take(dead=self.turn["holder"])

    def behind(self):
        other = self.turn.get("waiting")
        if other is None:
            return self.stand_in_line() if "holder" in self.turn else self.take()
        rivals = self.is_rival_of(self.turn["waitingFor"])
        if rivals and self.turn["waitingOrder"] < self.release["order"]:
            return self.stand_in_line(displacing=other)
        if self.is_dead("waiting"):
            return self.stand_in_line()
        return without_turn(other) if rivals else WAIT

    def stand_in_line(self, displacing=None):
        seen = {name: self.turn.get(name) for name in ("waiting", "waitingOrder")}
        place = table.Update(self.stack, "turn", seen).set(
            waiting=self.id,
            waitingOrder=self.release["order"],
            waitingDigest=self.release["digest"] or "none",
            waitingFor=self.waits_for(),
        )
        if table.write([place]) and displacing:
            self.supersede(displacing)
        return AGAIN

    def supersede(self, displaced):
        try:
            waiting = waits.take(f"take-turn#{displaced}")
            if waiting:
                waits.succeed(waiting, without_turn(self.id))
        except AwsRequestFailed:
            # It looks again by itself.
            pass

    def take(self, dead=None):
        now, record = table.now(), self.own_record()
        expected = {"holder": None}
        if dead:
            expected = {name: self.turn.get(name) for name in table.AS_HELD}
        if not self.release["alarm"]:
            expected["waiting"] = self.id if "waiting" in self.turn else None
        turn = table.Update(self.stack, "turn", expected).set(
            holder=self.id,
            heldSince=table.rfc3339(now),
            heldRecord=self.release["record"],
            heldDigest=self.release["digest"] or "none",
            heldRedrives=self.me["execution"]["redrives"],
            unsettled=dead,
        )
        turn.remove(*table.CHANGING, "goesBack")
        if self.release["alarm"]:
            turn.remove("heldOrder", "heldFor")
        else:
            turn.set(heldOrder=self.release["order"], heldFor=self.waits_for())
            turn.remove(*table.IN_LINE)
        updates = [turn, self.open(record, now)]
        if dead:
            updates += self.abandon(now)
        if not table.write(updates):
            return AGAIN
        mine = self.me["execution"]["redrives"]
        touched = record.get("touched", mine) < mine
        return {"taken": True, "supersededBy": None, "at": now, "touched": touched}

    def open(self, record, now):
        seen = record.get("verdict")
        own = table.Update(self.stack, self.release["record"], {"verdict": seen})
        if seen and "touched" not in record:
            own.remove("before", "imagesBefore")
        if seen == "succeeded":
            return own
        facts = table.facts(self.release, self.me["execution"], RETENTION_DAYS)
        own.set(verdict="inProgress", turnAt=now).set_first(**facts)
        own.remove("cause", "error", "finishedAt", "seconds", "rolledBackBy")
        return own.remove("awaits", "resumedAt")

    def abandon(self, now):
        """Closes the record of the dead release, if it is open."""
        key, digest = self.turn["heldRecord"], self.turn["heldDigest"]
        record = table.record(self.stack, key)
        if record["verdict"] != "inProgress" if record else digest == "none":
            return []
        is_current = self.turn.get("currentRecord") == key
        closed = table.Update(self.stack, key, {"verdict": record and record["verdict"]}).set(
            verdict="succeeded" if is_current else "abandoned",
            cause=f"The execution {self.turn['holder']} ended.",
            finishedAt=table.rfc3339(now),
        )
        expires = now // 1000 + RETENTION_DAYS * 86_400
        closed.set_first(
            execution=self.turn["holder"], startedAt=key.split("#")[1], expiresAt=expires
        )
        if digest != "none":
            closed.set_first(digest=digest, action="deploy")
        return [closed]

    def write(self, updates):
        table.write(updates)
        return AGAIN

    def own_record(self):
        return table.record(self.stack, self.release["record"]) or {}

    def waits_for(self):
        deploys = self.release["action"] == "deploy"
        return (deploys and self.release["repository"]) or "*"

    def is_rival_of(self, other):
        mine = self.waits_for()
        return mine == other or "*" in (mine, other)

    def last_call(self):
        """Until when the holder's last call may last."""
        until = self.turn.get("changingUntil", 0) + table.CLOCKS_MS
        return until if table.now() < until else None

    def is_dead(self, who):
        """Whether the holder, or who waits, has ended."""
        execution = self.turn[who]
        try:
            with AwsRequests("states:DescribeExecution", execution):
                answer = states.describe_execution(
                    executionArn=execution, includedData="METADATA_ONLY"
                )
        except AwsRequestFailed as failure:
            if failure.code != "ExecutionDoesNotExist":
                raise
            if who == "holder":
                since = self.turn["heldSince"]
            else:
                since = self.turn["waitingOrder"].split("#")[1]
            return table.now() >= table.millis_of(since) + MAY_BE_NEW_MS
        return answer["status"] not in ("RUNNING", "PENDING_REDRIVE")

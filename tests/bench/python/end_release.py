"""Ends a release: verdict, words, record, turn."""

import json

import table
import take_turn
from failures import AwsRequestFailed, InvalidInput, check

LAST_RETRY = 7
REASON_LENGTH = 32_767
ROLLBACK = ("ChooseTarget", "RollBack", "VerifyRollback")
POST_DEPLOY = ("RunPostDeploy", "WaitPostDeploy", "CheckPostDeploy")
# What ECS refused to start does not run.
NOT_STARTED = ("InvalidInput", "TaskNotStarted", "CapacityUnavailable")
FIELDS = (
    "execution",
    "retries",
    "plan",
    "turn",
    "settled",
    "migration",
    "migrationEnded",
    "migrated",
    "updatedAt",
    "health",
    "target",
    "rolledBackAt",
    "rollback",
    "current",
    "postDeploy",
    "failure",
)


def handler(event, context):
    check(event, FIELDS)
    now, plan, is_last = table.now(), event["plan"], event["retries"] >= LAST_RETRY
    if plan is None:
        failure = event["failure"]
        return outcome(event, None, "failed", f"{said(failure)}\nNothing was changed.", failure)
    release = plan["release"]
    try:
        record = table.record(release["stack"], release["record"]) or {}
    except AwsRequestFailed:
        if not is_last:
            raise
        record = {}
    ended = Ended(event, record)
    if ended.error:
        ended.serves = serves(release["stack"])
    answer = outcome(event, record, ended.verdict, ended.reason(), ended.error)
    try:
        close(event, ended, answer, now)
    except AwsRequestFailed as failure:
        if not is_last:
            raise
        return {**answer, "reason": f"{answer['reason']}\nThis is not on record: {failure}"}
    try:
        take_turn.hand_on(release["stack"])
    except AwsRequestFailed:
        # Who waits looks again by itself.
        pass
    return answer


def serves(stack):
    """The record of the release that serves."""
    try:
        key = table.turn(stack).get("currentRecord")
        return key and table.record(stack, key)
    except AwsRequestFailed:
        return None


def said(failure):
    """What a function said, or what Step Functions did."""
    try:
        return json.loads(failure["Cause"])["errorMessage"]
    except (KeyError, TypeError, ValueError):
        return failure["Cause"] or f"It failed with {failure['Error']}."


def error_of(failure):
    """The name that a function gave the error."""
    name = failure["Error"]
    return name if name[:1].isupper() and name.isalnum() else "PipelineFault"


class Ended:
    """How a release ended."""

    def __init__(self, event, record):
        self.event, self.record, self.plan = event, record, event["plan"]
        self.release, self.failure = self.plan["release"], event["failure"]
        self.health, self.target, self.serves = event["health"], event["target"], None
        self.began = self.what_began()
        self.verdict, self.error = self.judge()

    def judge(self):
        """The verdict and the name of the error."""
        step, rollback = self.failure and self.failure["step"], self.event["rollback"]
        if step in ROLLBACK and not (step == "ChooseTarget" and not self.began):
            return "failed", "RollbackFailed"
        if step == "RecordCurrent":
            verdict, error = self.in_service()
            told = self.record.get("verdict") == "succeeded"
            unknown = verdict == "succeeded" and not told
            return "abandoned" if unknown else verdict, error or error_of(self.failure)
        if step in POST_DEPLOY:
            verdict, error = self.in_service()
            return verdict, error or "PostDeployFailed"
        if step != "TakeTurn" and rollback:
            if rollback["verdict"] != "succeeded":
                return "failed", "RollbackFailed"
        elif self.failure:
            return "abandoned" if self.touched() else "failed", error_of(self.failure)
        verdict, error = self.in_service()
        unwritten = (self.event["current"] or {}).get("unwritten")
        return verdict, error or ("ImageParameterNotWritten" if unwritten else None)

    def in_service(self):
        if self.target and self.target["requested"]:
            return "succeeded", None
        if self.target:
            return "failed" if self.target["unread"] else "rolledBack", self.began
        if self.health and self.health["verdict"] in ("succeeded", "superseded"):
            return self.health["verdict"], None
        if self.plan["ending"]:
            return self.plan["ending"]["verdict"], None
        raise InvalidInput("nothing in it says how the release ended")

    def what_began(self):
        """The error that made a rollback necessary."""
        failure = self.failure
        if failure and failure["step"] in (*ROLLBACK, "RecordCurrent"):
            failure = failure.get("began")
        if failure:
            return error_of(failure)
        unwell = self.health and self.health["verdict"] != "succeeded" and self.health["verdict"]
        if not unwell:
            return None
        known = {"rolledBack": "RolledBack", "stopped": "Stopped", "unhealthy": "Unhealthy"}
        return f"Deployment{known.get(unwell, 'Stalled')}"

    def touched(self):
        known = "touched" in self.record or self.event["updatedAt"] or self.event["rolledBackAt"]
        return self.earlier_try_touched() or bool(known)

    def earlier_try_touched(self):
        redrives = self.event["execution"]["redrives"]
        told = (self.event["turn"] or {}).get("touched", False)
        return told or self.record.get("touched", redrives) < redrives

    def recorded(self):
        """Nobody has found healthy what an earlier try may have left."""
        taken_over = self.verdict == "superseded" and self.health
        ending = self.plan["ending"] and not self.health and not self.target and not self.failure
        if taken_over and self.earlier_try_touched():
            return "abandoned"
        if ending and self.verdict != "nothingToDeploy" and self.touched():
            return "abandoned"
        return self.verdict

    def left_running(self):
        if self.error == "RollbackFailed" or (self.verdict == "abandoned" and self.failure):
            return self.failure is None or self.failure["step"] != "RecordCurrent"
        step, error = (self.failure["step"], self.failure["Error"]) if self.failure else (None, None)
        if step in ("RunMigration", "RunPostDeploy"):
            return error not in NOT_STARTED
        if step == "CheckExitCode":
            ended = self.event["migrationEnded"]
            return bool(ended) and ended["stopped"] is None
        is_overdue = step == "CheckPostDeploy" and error == "MigrationTimedOut"
        return is_overdue or step in ("WaitTask", "WaitPostDeploy")

    def reason(self):
        stack, tag = self.release["stack"], self.release["tag"] or self.release["digest"]
        parts = [said(self.failure)] if self.failure else []
        if self.health:
            parts.append(self.health["cause"])
        if self.verdict == "succeeded" and not self.target:
            parts.insert(0, f"Stack {stack} runs {tag} and is healthy.")
        if self.target:
            good = self.target["release"]
            back_to = f"the release {good['tag'] or good['digest']}" if good else "what ran before"
        elif self.failure and self.serves:
            parts.insert(0, f"{tag} was not deployed. {self.serves.get('tag')} serves.")
        if self.target:
            parts.append(f"All services of stack {stack} are rolled back to {back_to}.")
        if self.plan["ending"]:
            parts.append(self.plan["reason"])
        if self.event["migrated"]:
            parts.append("The migration of this release has run and stays in the database.")
        if self.failure and not self.touched():
            parts.append(f"No service was touched: stack {stack} runs what it ran before.")
        return " ".join(parts)[:REASON_LENGTH]


def outcome(event, record, verdict, reason, error):
    release = event["plan"]["release"] if event["plan"] else {}
    good = event["target"] and event["target"]["requested"] and event["target"]["release"]
    shown = {
        "verdict": verdict,
        "reason": reason,
        "error": error_of(error) if isinstance(error, dict) else error,
        "stack": release.get("stack"),
        "tag": (good or release).get("tag"),
        "digest": (good or release).get("digest"),
        "services": services_of(event, record, verdict),
    }
    return {key: value for key, value in shown.items() if value}


def services_of(event, record, verdict):
    """What the services run, where that is what the release says."""
    if verdict == "succeeded":
        services = json.loads(record.get("services", "[]"))
    elif verdict == "nothingToDeploy":
        services = event["plan"]["services"]
    else:
        services = []
    return [{key: one[key] for key in ("service", "taskDefinition")} for one in services]


def close(event, ended, answer, now):
    """Closes the record together with giving the turn back, or the place in the line."""
    release, execution = ended.release, event["execution"]
    stack, key = release["stack"], release["record"]

    def decide(turn):
        holds = turn.get("holder") == execution["id"]
        if holds and turn.get("heldRedrives", 0) > execution["redrives"]:
            return None
        updates = []
        if holds:
            table.check_alone(turn, stack)
            left = execution["id"] if ended.left_running() else None
            given_back = table.of_turn(turn, stack).set(unsettled=left)
            updates.append(given_back.remove(*table.HELD, *table.CHANGING))
        elif turn.get("waiting") == execution["id"]:
            place = table.Update(stack, "turn", {"waiting": execution["id"]})
            updates.append(place.remove(*table.IN_LINE))
        record = table.record(stack, key)
        seen, verdict = record and record["verdict"], ended.recorded()
        if verdict == "nothingToRollBack":
            if seen == "inProgress":
                updates.append(table.Update(stack, key, {"verdict": seen}).delete())
        elif holds and (seen, verdict) == ("succeeded", "nothingToDeploy"):
            updates.append(closed(seen, seen))
        elif seen in (None, "inProgress") or (holds and seen == verdict):
            updates.append(closed(verdict, seen))
        return updates or None

    def closed(verdict, seen):
        update = table.Update(stack, key, {"verdict": seen}).set(
            verdict=verdict,
            cause=answer["reason"],
            error=answer.get("error"),
            seconds=table.compact(seconds(event, now)),
            finishedAt=table.rfc3339(now),
        )
        facts = table.facts(release, execution, take_turn.RETENTION_DAYS)
        return update.set_first(**facts).remove("awaits")

    table.change(stack, decide)


def seconds(event, now):
    """How long the parts of the release took, to a tenth of a second."""
    started = table.millis_of(event["plan"]["release"]["startedAt"])
    turn, target = event["turn"], event["target"]
    if target and target["requested"]:
        begun, health = event["rolledBackAt"], event["rollback"]
    else:
        begun, health = event["updatedAt"], event["health"]
    parts = {
        "total": (started, now),
        "untilTurn": (started, turn and turn["taken"] and turn["at"]),
        "migration": [event[key] and event[key]["at"] for key in ("migration", "migrated")],
        "deployment": (begun, health and health["verdict"] == "succeeded" and health["at"]),
    }
    return {key: round((to - at) / 1000, 1) for key, (at, to) in parts.items() if at and to}

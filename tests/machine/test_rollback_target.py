"""Which release a stack goes back to: the state machine's own expressions, evaluated on records."""

import json
import time
import unittest
from typing import Any

from definition import STATES, next_of, value

ASKED_FOR = None
FAILED = {"verdict": "unhealthy"}


def service(name: str, revision: int) -> dict[str, str]:
    return {"cluster": "c", "service": name, "taskDefinition": f"{name}:{revision}"}


def release(number: int, verdict: str, **facts: Any) -> dict[str, Any]:
    """The record of a release, which is the newer the higher its number."""
    usual = {
        "action": "deploy",
        "tag": f"v{number}",
        "digest": f"d{number}",
        "image": f"shop@d{number}",
        "repository": "shop",
    }
    return {"record": f"release#{number:04}#name-{number}", "verdict": verdict, **usual, **facts}


def rollback(number: int, verdict: str, to: int, **facts: Any) -> dict[str, Any]:
    """The record of a rollback to the release with the number `to`."""
    restored = {
        "digest": f"d{to}",
        "image": f"shop@d{to}",
        "tag": f"v{to}",
        "restores": f"release#{to:04}#name-{to}",
    }
    return release(number, verdict, action="rollback", **restored, **facts)


class RollbackTarget(unittest.TestCase):
    def target(
        self,
        releases: list[dict[str, Any]],
        outcome: dict[str, str] | None,
        current: int | None = None,
        then: list[dict[str, str]] | None = None,
        suspect: bool = False,
        to: str | None = None,
    ) -> tuple[str | None, list[str]]:
        """The tag of the release that is gone back to, and the revisions of the services.

        `current` is the number of the release that the stack's turn names, `then` are the services
        that the chosen release had; the stack runs `web:50` and `worker:50` before the release.
        """
        turn = {"currentRecord": {"S": f"release#{current:04}#name-{current}"}} if current else {}
        variables = {
            "releases": sorted(releases, key=lambda record: record["record"], reverse=True),
            "turn": turn,
            "outcome": outcome,
            "suspect": suspect,
            "request": {"to": to} if to else {},
            "plan": {
                "repository": "shop" if outcome else None,
                "services": [service("web", 50), service("worker", 50)],
            },
        }
        chosen = self.assigned("ChooseTarget", variables)
        if chosen["release"] is None:
            revisions = chosen["services"]
            tag = None
        else:
            tag = chosen["release"]["tag"]
            self.assertEqual(chosen["serving"]["image"], chosen["release"]["image"])
            read = {"result": {"Item": {"services": {"S": json.dumps(then or [service("web", 1)])}}}}
            variables |= {"target": chosen, "states": read}
            revisions = self.assigned("ReadTarget", variables)["services"]
        return tag, [revision["taskDefinition"] for revision in revisions]

    def serving(self, releases: list[dict[str, Any]]) -> dict[str, str]:
        """The image that the stack's parameter gets after the rollback of a release that failed."""
        plan = {"repository": "shop", "services": [service("web", 50)]}
        variables = {
            "releases": releases,
            "turn": {},
            "outcome": FAILED,
            "suspect": False,
            "request": {},
            "plan": plan,
        }
        return self.assigned("ChooseTarget", variables)["serving"]

    def assigned(self, state: str, variables: dict[str, Any]) -> dict[str, Any]:
        return value(STATES[state]["Assign"]["target"], variables)

    def test_a_release_that_was_aborted_before_it_had_a_record_changes_nothing(self) -> None:
        """It touched nothing. `RecordAbandoned` knows of it only what the stack's turn said."""
        aborted = {key: f"d3-{key}" for key in ("digest", "execution", "startedAt")}
        aborted |= {"record": "release#0003#name-3", "verdict": "abandoned", "action": "deploy"}
        good = [release(1, "succeeded"), release(2, "succeeded")]
        for outcome in (ASKED_FOR, FAILED):
            expected = self.target(good, outcome, current=2)
            self.assertEqual(self.target([*good, aborted], outcome, current=2), expected)

    def test_a_release_that_failed_goes_back_to_what_ran_before_it(self) -> None:
        before = ["web:50", "worker:50"]
        for newest in (
            release(2, "succeeded"),
            release(2, "rolledBack"),
            release(2, "failed", error="MigrationFailed"),
            release(2, "superseded"),
        ):
            found = self.target([release(1, "succeeded"), newest], FAILED, current=1)
            self.assertEqual(found, (None, before), newest)
        self.assertEqual(self.target([], FAILED), (None, before))

    def test_the_image_that_ran_before_is_the_one_of_the_last_good_release(self) -> None:
        releases = [release(2, "failed", error="MigrationFailed"), release(1, "succeeded")]
        self.assertEqual(self.serving(releases), {"repository": "shop", "image": "shop@d1"})
        self.assertEqual(self.serving([]), {"repository": "", "image": ""})

    def test_what_was_never_found_healthy_is_not_gone_back_to(self) -> None:
        good = ("v1", ["web:1", "worker:50"])
        for newest in (
            release(2, "abandoned"),
            release(2, "inProgress"),
            release(2, "failed", error="RollbackFailed"),
        ):
            between = release(3, "failed", error="MigrationFailed")
            releases = [release(1, "succeeded"), newest, between]
            self.assertEqual(self.target(releases, FAILED, current=1), good, newest)

    def test_a_redriven_release_does_not_go_back_to_itself(self) -> None:
        found = self.target([release(1, "succeeded")], FAILED, current=1, suspect=True)
        self.assertEqual(found, ("v1", ["web:1", "worker:50"]))

    def test_after_a_rollback_that_was_aborted_its_target_is_the_good_one(self) -> None:
        releases = [release(1, "succeeded"), release(2, "succeeded"), rollback(3, "abandoned", to=1)]
        self.assertEqual(self.target(releases, FAILED, current=2)[0], "v1")
        self.assertEqual(self.target(releases, ASKED_FOR, current=2)[0], "v1")

    def test_a_release_of_another_repository_is_no_way_back(self) -> None:
        other = release(2, "succeeded", repository="worker")
        releases = [release(1, "succeeded"), other, release(3, "succeeded")]
        self.assertEqual(self.target(releases, ASKED_FOR, current=3)[0], "v1")
        broken = release(2, "abandoned", repository="worker")
        found = self.target([release(1, "succeeded"), broken], FAILED, current=1)
        self.assertEqual(found, (None, ["web:50", "worker:50"]))

    def test_a_rollback_goes_to_the_last_good_release_with_another_image(self) -> None:
        again = release(3, "succeeded", digest="d2", tag="v2")
        releases = [release(1, "succeeded"), release(2, "succeeded"), again]
        self.assertEqual(self.target(releases, ASKED_FOR, current=3), ("v1", ["web:1"]))

    def test_a_second_rollback_goes_further_back(self) -> None:
        releases = [release(number, "succeeded") for number in (1, 2)]
        releases += [release(3, "rolledBack"), rollback(4, "succeeded", to=2)]
        self.assertEqual(self.target(releases, ASKED_FOR, current=4)[0], "v1")

    def test_after_a_release_that_was_aborted_the_current_one_comes_back(self) -> None:
        releases = [release(1, "succeeded"), release(2, "succeeded"), release(3, "abandoned")]
        self.assertEqual(self.target(releases, ASKED_FOR, current=2)[0], "v2")

    def test_a_release_that_is_named_is_gone_back_to_if_it_was_good(self) -> None:
        releases = [release(number, "succeeded") for number in (1, 2, 3)]
        releases.append(release(4, "rolledBack"))
        self.assertEqual(self.target(releases, ASKED_FOR, current=3, to="name-1")[0], "v1")
        self.assertEqual(self.target(releases, ASKED_FOR, current=3, to="name-4"), (None, []))
        self.assertEqual(self.target(releases, ASKED_FOR, current=3, to="nobody"), (None, []))

    def test_without_an_earlier_release_there_is_nothing_to_go_back_to(self) -> None:
        self.assertEqual(self.target([], ASKED_FOR), (None, []))
        self.assertEqual(self.target([release(1, "succeeded")], ASKED_FOR, current=1), (None, []))


class WayBackTakenBack(unittest.TestCase):
    """ECS goes back from a way back, too, when an alarm fires."""

    def leads(self, *services: tuple[str, list[str]], tries: int = 1, took: int = 20_000) -> str:
        told = [{"verdict": verdict, "alarms": alarms} for verdict, alarms in services]
        verdicts = ("succeeded", "inProgress", "stopped", "rolledBack")
        worst = max((verdict for verdict, _ in services), key=verdicts.index)
        variables = {
            "health": {"verdict": worst, "services": told},
            "outcome": None,
            "rollbackTries": tries,
            "rollbackStarted": int(time.time() * 1000) - took,
            "deploymentLimit": 600_000,
        }
        return next_of("DecideOnRollback", variables)

    def test_for_an_alarm_it_is_gone_again(self) -> None:
        alarmed = ("rolledBack", ["errors"])
        self.assertEqual(self.leads(alarmed), "RollBack")
        self.assertEqual(self.leads(alarmed, ("succeeded", [])), "RollBack")

    def test_what_a_person_has_stopped_or_what_failed_by_itself_is_not_tried_again(self) -> None:
        alarmed = ("rolledBack", ["errors"])
        for other in (("stopped", []), ("rolledBack", [])):
            self.assertEqual(self.leads(other), "RollbackFailed")
            self.assertEqual(self.leads(alarmed, other), "RollbackFailed")

    def test_what_ecs_tells_at_first_may_be_of_the_way_before(self) -> None:
        alarmed = ("rolledBack", ["errors"])
        self.assertEqual(self.leads(alarmed, tries=2, took=1_000), "PauseForRollback")
        self.assertEqual(self.leads(alarmed, tries=2), "RollBack")

    def test_the_record_keeps_what_ran_before_the_first_way_back(self) -> None:
        keeps = STATES["RollBack"]["Assign"]["rolledBack"]
        states = {"result": {"Payload": {"services": ["second"]}}}
        first = {"services": ["first"]}
        self.assertEqual(value(keeps, {"rolledBack": first, "states": states}), first)
        second = value(keeps, {"rolledBack": None, "states": states})
        self.assertEqual(second, {"services": ["second"]})

    def test_it_is_not_gone_forever(self) -> None:
        alarmed = ("rolledBack", ["errors"])
        self.assertEqual(self.leads(alarmed, tries=5), "RollbackFailed")
        self.assertEqual(self.leads(alarmed, took=700_000), "RollbackFailed")

    def test_a_redriven_execution_counts_its_tries_anew(self) -> None:
        """It plans anew, and so chooses anew where to go back to."""
        self.assertEqual(STATES["ChooseTarget"]["Assign"]["rollbackTries"], 0)


class UnreadTable(unittest.TestCase):
    def leads(self, **variables: Any) -> str:
        return next_of("DecideOnUnread", {"suspect": False, "unread": True, **variables})

    def test_a_release_that_failed_goes_back_to_what_ran_before_it(self) -> None:
        for state in ("FindReleases", "ReadTarget"):
            (unread,) = STATES[state]["Catch"]
            self.assertEqual(unread["Next"], "DecideOnUnread", state)
        self.assertEqual(self.leads(outcome=FAILED), "ChooseTarget")
        target = RollbackTarget().target([], FAILED, current=2)
        self.assertEqual(target, (None, ["web:50", "worker:50"]))

    def test_nobody_vouches_for_what_ran_before_it(self) -> None:
        """The next release that fails looks further back."""
        for unread, verdict in ((False, "rolledBack"), (True, "failed")):
            variables = {
                "unread": unread,
                "outcome": {**FAILED, "cause": ""},
                "plan": {"stack": "shop"},
                "target": {"release": None},
            }
            outcome = value(STATES["DecideOnRollback"]["Choices"][1]["Assign"]["outcome"], variables)
            self.assertEqual(outcome["verdict"], verdict)

    def test_what_is_known_to_be_uncertain_is_no_good_to_go_back_to(self) -> None:
        self.assertEqual(self.leads(outcome=FAILED, suspect=True), "ExplainRollbackFailure")
        # Of the releases it was read which one is the good one, but not what that ran.
        self.assertEqual(self.leads(outcome=FAILED, unread=False), "ExplainRollbackFailure")

    def test_a_rollback_that_was_asked_for_has_changed_nothing(self) -> None:
        self.assertEqual(self.leads(outcome=ASKED_FOR), "ExplainFailure")


class NoGoodRelease(unittest.TestCase):
    def test_a_redriven_release_is_not_called_rolled_back_to_itself(self) -> None:
        target = {"release": None, "services": [service("web", 50)]}
        for suspect, leads in ((False, "RollBack"), (True, "ExplainRollbackFailure")):
            variables = {"target": target, "outcome": FAILED, "suspect": suspect}
            self.assertEqual(next_of("DecideOnTarget", variables), leads)


if __name__ == "__main__":
    unittest.main()

"""What the record of a release says: at its beginning, and of how it ended."""

import unittest
from typing import Any

from definition import STATES, value
from glue.jsonata_evaluator import EvaluationError

EXECUTION = {"Id": "arn:execution:me", "StartTime": "2026-05-04T09:10:11.123Z", "RedriveCount": 0}
SERVICES = [{"service": "web", "taskDefinition": "web:1"}]


def evaluated(arguments: str, **variables: Any) -> dict[str, Any]:
    """The arguments of a release of a new image; `variables` are what differs."""
    usual = {
        "plan": {
            "action": "deploy",
            "stack": "shop",
            "repository": "shop",
            "digest": "sha256:2",
            "image": "shop@sha256:2",
            "services": [],
        },
        "request": {},
        "record": "release#2",
        "redrives": 0,
        "suspect": False,
        "rolledBack": None,
        "update": None,
        "target": {"release": None, "services": []},
        "states": {"context": {"Execution": EXECUTION}},
    }
    times = ("turnAt", "migrationStarted", "migrationEnded", "updatedAt", "verifiedAt")
    expression = arguments.replace("${RecordRetentionDays}", "90")
    given = {**usual, **dict.fromkeys(times), **variables}
    return value(expression, given)


class Beginning(unittest.TestCase):
    def item(self, **variables: Any) -> dict[str, Any]:
        return evaluated(STATES["RecordRelease"]["Arguments"]["Item"], **variables)

    def test_a_rollback_says_at_once_which_revisions_it_brings_back(self) -> None:
        """Nothing else does where it is aborted when they are in service."""
        release = {"repository": "shop", "digest": "sha256:1", "image": "shop@sha256:1"}
        plan = {"action": "rollback", "stack": "shop", "services": []}
        target = {"release": release, "services": SERVICES}
        services = self.item(plan=plan, target=target)["services"]["S"]
        self.assertIn('"taskDefinition":"web:1"', services)

    def test_a_deployment_has_no_revisions_yet(self) -> None:
        self.assertNotIn("services", self.item())

    def test_a_redriven_execution_begins_no_record_without_the_turn(self) -> None:
        with self.assertRaises(EvaluationError):
            self.item(redrives=1)
        first = STATES["RecordRelease"]["Catch"][0]
        self.assertEqual(first["ErrorEquals"], ["States.QueryEvaluationError"])
        self.assertEqual(first["Next"], "DecideOnRedrive")


class End(unittest.TestCase):
    def verdict(self, verdict: str, suspect: bool) -> str:
        arguments = STATES["RecordVerdict"]["Arguments"]
        outcome = {"verdict": verdict, "cause": ""}
        written = evaluated(arguments, outcome=outcome, suspect=suspect)
        return written["ExpressionAttributeValues"][":verdict"]["S"]

    def test_a_release_that_gives_way_vouches_for_nothing_that_an_earlier_try_deployed(self) -> None:
        for verdict in ("superseded", "stale"):
            self.assertEqual(self.verdict(verdict, suspect=False), verdict)
            self.assertEqual(self.verdict(verdict, suspect=True), "abandoned")
        self.assertEqual(self.verdict("succeeded", suspect=True), "succeeded")


if __name__ == "__main__":
    unittest.main()

"""What the stack's item is told of a release at its end, before the record is."""

import unittest
from typing import Any

from definition import STATES, next_of, value

ME = "arn:execution:me"
PLAN = {"action": "deploy", "stack": "shop", "repository": "shop", "digest": "sha256:2"}
BACK = {"action": "rollback", "stack": "shop", "repository": None, "digest": None}


def variables(verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "holding": True,
        "leftRunning": False,
        "unsettled": False,
        "plan": PLAN,
        "outcome": {"verdict": verdict},
        "rolledBack": None,
        "target": {"release": {"repository": "shop", "digest": "sha256:1"}},
        "record": "release#2#shop-v2",
        "order": "2026-01-01T00:00:05#",
        "deployedOrder": "",
        "updatedAt": 7,
        "states": {"context": {"Execution": {"Id": ME}}},
        **more,
    }


def told(given: dict[str, Any]) -> dict[str, str]:
    """The attributes that RecordCurrent sets, with their values; none where it is passed by."""
    if next_of("DecideOnCurrent", given) != "RecordCurrent":
        return {}
    arguments = value(STATES["RecordCurrent"]["Arguments"], given)
    names = arguments.get("ExpressionAttributeNames", {})
    values = arguments["ExpressionAttributeValues"]
    pairs = (one.split(" = ") for one in arguments["UpdateExpression"][len("SET ") :].split(", "))
    return {names.get(name, name): "".join(values[of].values()) for name, of in pairs}


class Current(unittest.TestCase):
    def test_a_release_that_succeeded_is_the_current_one(self) -> None:
        given = told(variables("succeeded"))
        self.assertEqual(given["deployed:shop"], "2026-01-01T00:00:05#")
        self.assertEqual(given["verified:shop"], "sha256:2")
        self.assertEqual(given["currentRecord"], "release#2#shop-v2")
        self.assertNotIn("rolledBackAt", given)

    def test_a_rollback_moves_the_order_of_pushes_not_back(self) -> None:
        given = told(variables("succeeded", plan=BACK, rolledBack={"services": []}))
        self.assertEqual(given["verified:shop"], "sha256:1")
        self.assertEqual(given["currentAction"], "rollback")
        self.assertFalse([name for name in given if name.startswith("deployed:")])
        forced = told(variables("succeeded", deployedOrder="2026-01-01T00:00:09#"))
        self.assertEqual(forced["deployed:shop"], "2026-01-01T00:00:09#")

    def test_of_a_release_that_was_taken_back_only_that_is_told(self) -> None:
        given = told(variables("rolledBack", rolledBack={"services": []}))
        self.assertEqual(list(given), ["rolledBackAt"])

    def test_a_release_that_changed_nothing_tells_nothing(self) -> None:
        for verdict in ("superseded", "stale", "failed", "nothingToRollBack"):
            self.assertEqual(told(variables(verdict)), {}, verdict)
        self.assertEqual(told(variables("succeeded", holding=False)), {})

    def test_the_turn_is_given_back_last_and_what_was_left_at_work_is_noted(self) -> None:
        self.assertEqual(STATES["RecordCurrent"]["Next"], "RecordVerdict")
        self.assertEqual(STATES["RecordVerdict"]["Next"], "DecideOnGivingBack")
        update = STATES["GiveTurnBack"]["Arguments"]["UpdateExpression"]
        self.assertTrue(value(update, variables("succeeded")).startswith("REMOVE holder"))
        for left in ("leftRunning", "unsettled"):
            noted = value(update, variables("failed", **{left: True}))
            self.assertTrue(noted.startswith("SET unsettled = :me REMOVE holder"), left)

    def test_what_is_not_known_to_be_in_service_is_not_recorded_as_a_success(self) -> None:
        """Another release has the turn, or the item cannot be written."""
        leads = {catch["Next"] for catch in STATES["RecordCurrent"]["Catch"]}
        self.assertEqual(leads, {"DecideOnRedrive", "DecideOnEnd"})


if __name__ == "__main__":
    unittest.main()

"""What is recorded of a release whose execution ended without giving the stack's turn back."""

import unittest
from typing import Any

from definition import STATES
from definition import value as value_of

HOLDER = "arn:aws:states:eu-west-1:123456789012:execution:deploy:shop-v2"
RECORD = "release#2026-05-04T09:10:11.123Z#shop-v2"


def value(text: Any, variables: dict[str, Any]) -> Any:
    if isinstance(text, dict):
        return {key: value(one, variables) for key, one in text.items()}
    if not text.startswith("{%"):
        return text
    return value_of(text.replace("${RecordRetentionDays}", "90"), variables)


class Abandoned(unittest.TestCase):
    def arguments(self, digest: str, **more: str) -> dict[str, Any]:
        texts = {"holder": HOLDER, "heldRecord": RECORD, "heldDigest": digest, **more}
        variables = {
            "plan": {"stack": "shop"},
            "turn": {name: {"S": text} for name, text in texts.items()},
            "other": {"Status": "ABORTED"},
        }
        return value(STATES["RecordAbandoned"]["Arguments"], variables)

    def test_a_push_that_had_no_record_yet_is_known_from_now_on(self) -> None:
        arguments = self.arguments("sha256:2")
        self.assertEqual(
            arguments["ConditionExpression"], "verdict = :open OR attribute_not_exists(verdict)"
        )
        values = arguments["ExpressionAttributeValues"]
        self.assertEqual(values[":digest"], {"S": "sha256:2"})
        self.assertEqual(values[":execution"], {"S": HOLDER})
        self.assertEqual(values[":started"], {"S": "2026-05-04T09:10:11.123Z"})

    def test_a_rollback_that_had_no_record_yet_gets_none(self) -> None:
        self.assertEqual(self.arguments("none")["ConditionExpression"], "verdict = :open")

    def test_one_that_the_stacks_item_calls_current_had_succeeded(self) -> None:
        for current, verdict in ((RECORD, "succeeded"), ("release#another", "abandoned")):
            arguments = self.arguments("sha256:2", currentRecord=current)
            self.assertEqual(arguments["ExpressionAttributeValues"][":verdict"], {"S": verdict})
        values = self.arguments("sha256:2")["ExpressionAttributeValues"]
        self.assertEqual(values[":verdict"], {"S": "abandoned"})

    def test_the_turn_is_taken_over_only_when_that_is_recorded(self) -> None:
        """Who takes it may end as well, and nothing leads to the record then."""
        leads = [
            name
            for name, state in STATES.items()
            for way in (state, *state.get("Catch", []), *state.get("Choices", []))
            if "TakeOver" in (way.get("Next"), way.get("Default"))
        ]
        self.assertEqual(set(leads), {"RecordAbandoned"})


if __name__ == "__main__":
    unittest.main()

"""Where a failure leads, by what the release may have changed."""

import unittest
from typing import Any

from definition import STATES, next_of, value


class Failure(unittest.TestCase):
    def variables(self, **more: Any) -> dict[str, Any]:
        usual = {
            "touched": False,
            "suspect": False,
            "holding": True,
            "plan": {"action": "deploy"},
            "request": {},
            "outcome": {"verdict": "failed", "error": "PipelineFault", "cause": "It failed."},
        }
        return {**usual, **more}

    def test_services_that_were_touched_are_taken_back(self) -> None:
        for touched in ({"touched": True}, {"suspect": True}):
            given = self.variables(**touched)
            self.assertEqual(next_of("DecideOnFailure", given), "FindReleases", touched)

    def test_what_nothing_touched_is_recorded_as_it_is(self) -> None:
        self.assertEqual(next_of("DecideOnFailure", self.variables()), "DecideOnCurrent")
        unplanned = self.variables(plan=None)
        self.assertEqual(next_of("DecideOnFailure", unplanned), "ReleaseFailed")

    def test_what_an_earlier_try_touched_is_left_to_the_next_release_where_it_cannot_be_taken_back(
        self,
    ) -> None:
        """As after an execution that was aborted: nobody found healthy what the services run."""
        for unable in ({"holding": False}, {"plan": {"action": "rollback"}}):
            given = self.variables(suspect=True, **unable)
            self.assertEqual(next_of("DecideOnFailure", given), "DecideOnCurrent", unable)
            choices = STATES["DecideOnFailure"]["Choices"]
            (assigned,) = (choice["Assign"] for choice in choices if "leftRunning" in str(choice))
            self.assertEqual(value(assigned["outcome"], given)["verdict"], "abandoned")
            self.assertTrue(assigned["leftRunning"])

    def test_nobody_is_told_that_nothing_was_touched_where_an_earlier_try_may_have(self) -> None:
        text = STATES["PlanRelease"]["Assign"]["untouched"]
        states = {"result": {"Payload": {"stack": "shop"}}}
        usual = {"suspect": False, "foundAtWork": False, "states": states}
        self.assertTrue(value(text, usual).startswith("No service was touched"))
        self.assertIn("earlier try", value(text, {**usual, "suspect": True}))

    def test_nobody_is_told_that_the_stack_runs_what_it_ran_where_a_deployment_was_stopped(
        self,
    ) -> None:
        """SettleRelease stops what a dead release has left, also where nothing follows then."""
        settle = STATES["SettleRelease"]["Assign"]
        payload = {"stack": "shop", "deployments": ["d8"]}
        found = {
            "suspect": False,
            "foundAtWork": False,
            "untouched": "No service was touched: stack shop runs what it ran before.",
            "plan": {"stack": "shop"},
            "states": {"result": {"Payload": payload}},
        }
        then = {**found, **{name: value(settle[name], found) for name in ("foundAtWork", "untouched")}}
        at_rest = {**then, "states": {"result": {"Payload": {**payload, "deployments": []}}}}
        for name in ("foundAtWork", "untouched"):
            self.assertEqual(value(settle[name], at_rest), then[name])
        told = value(STATES["PlanRelease"]["Assign"]["untouched"], at_rest)
        self.assertIn("may not be what ran before", told)
        suspect = {**found, "suspect": True, "untouched": "An earlier try."}
        self.assertEqual(value(settle["untouched"], suspect), "An earlier try.")


class Redriven(unittest.TestCase):
    def assigned(self, name: str, **variables: Any) -> Any:
        (choice,) = STATES["DecideOnRedrive"]["Choices"]
        usual = {"suspect": False, "touched": False, "rolledBack": None, "untouched": "", "plan": {}}
        return value(choice["Assign"][name], {**usual, **variables})

    def test_whatever_an_earlier_try_has_touched_makes_a_release_suspect(self) -> None:
        self.assertFalse(self.assigned("suspect"))
        for touched in ({"touched": True}, {"rolledBack": {"services": []}}, {"suspect": True}):
            self.assertTrue(self.assigned("suspect", **touched), touched)
            self.assertIn("earlier try", self.assigned("untouched", **touched), touched)

    def test_it_waits_until_no_call_of_the_earlier_try_is_at_work(self) -> None:
        (choice,) = STATES["DecideOnRedrive"]["Choices"]
        pause = STATES[choice["Next"]]
        self.assertEqual((pause["Type"], pause["Next"]), ("Wait", "ReadTurn"))
        longest = max(
            state["TimeoutSeconds"]
            for state in STATES.values()
            if state.get("Resource", "").endswith("lambda:invoke")
        )
        self.assertGreaterEqual(longest, 60)
        self.assertGreater(pause["Seconds"], 60)

    def test_nobody_has_verified_what_an_earlier_try_brought(self) -> None:
        def decided(verified: str, suspect: bool) -> str:
            variables = {
                "plan": {"action": "none", "digest": "sha256:2", "reason": ""},
                "request": {},
                "order": "2",
                "deployedOrder": "",
                "verifiedDigest": verified,
                "suspect": suspect,
            }
            return next_of("DecideOnPlan", variables)

        self.assertEqual(decided("", False), "DecideOnImage")
        self.assertEqual(decided("", True), "RecordRelease")
        self.assertEqual(decided("sha256:2", True), "DecideOnImage")


if __name__ == "__main__":
    unittest.main()

"""What a release says whose image could not be written for the stack, and where it writes which."""

import unittest
from typing import Any

from definition import STATES, next_of, value

NAME = "/bluegreen/shop/image"
PLAN = {"stack": "shop", "action": "deploy", "postDeploy": None, "imageParameters": {"shop": NAME}}
SERVING = {"repository": "shop", "image": "registry/shop@sha256:2"}


class ImageParameter(unittest.TestCase):
    def explained(self, outcome: dict[str, str] | None, **plan: Any) -> dict[str, str]:
        failure = {"Error": "Ssm.AccessDeniedException", "Cause": "not you"}
        variables = {
            "plan": {**PLAN, **plan},
            "serving": SERVING,
            "outcome": outcome,
            "states": {"input": {"failure": failure}},
        }
        explained = STATES["ExplainUnwrittenImage"]["Assign"]["outcome"]
        return {key: value(text, variables) for key, text in explained.items()}

    def test_only_the_parameter_of_the_repository_is_written(self) -> None:
        for repository, expected in (
            ("shop", "WriteImage"),
            ("tools", "DecideOnServing"),
            ("", "DecideOnServing"),
        ):
            variables = {"plan": PLAN, "serving": {"repository": repository, "image": "i"}}
            self.assertEqual(next_of("DecideOnImage", variables), expected)

    def test_a_release_that_is_healthy_fails_by_name_and_stays_healthy(self) -> None:
        told = self.explained(None, postDeploy={"command": ["contract"]})
        self.assertEqual(told["verdict"], "succeeded")
        self.assertEqual(told["error"], "ImageParameterNotWritten")
        command = f"--name {NAME} --value {SERVING['image']}"
        for part in ("healthy", "post-deploy command was not run", "not you", command):
            self.assertIn(part, told["cause"])
        self.assertNotIn("post-deploy", self.explained(None)["cause"])

    def test_a_release_that_failed_before_keeps_its_error(self) -> None:
        before = {"verdict": "rolledBack", "error": "DeploymentRolledBack", "cause": "It crashed."}
        told = self.explained(before)
        self.assertEqual(told["verdict"], "rolledBack")
        self.assertEqual(told["error"], "DeploymentRolledBack")
        self.assertTrue(told["cause"].startswith("It crashed.\nThe parameter"))

    def test_what_follows_depends_on_what_was_done(self) -> None:
        done = {"verdict": "succeeded"}
        for plan, outcome, expected in (
            ("deploy", None, "DecideOnPostDeploy"),
            ("deploy", {"verdict": "rolledBack"}, "DecideOnCurrent"),
            ("none", {"verdict": "nothingToDeploy"}, "DecideOnCurrent"),
            ("rollback", done, "RecordRolledBack"),
        ):
            variables = {"plan": {"action": plan}, "outcome": outcome}
            self.assertEqual(next_of("DecideOnServing", variables), expected)


if __name__ == "__main__":
    unittest.main()

"""Executions that are redriven."""

import json

from botocore.exceptions import ClientError

from tests.support import GlueTest, wait_for

# Counts in the variable $count, waits in the first run and goes on at once in any other.
STATES = {
    "Count": {
        "Type": "Pass",
        "Assign": {"redrives": "{% $states.context.Execution.RedriveCount %}"},
        "Output": {"kept": True},
        "Next": "Wait",
    },
    "Wait": {
        "Type": "Wait",
        "Seconds": "{% $states.context.Execution.RedriveCount = 0 ? 60 : 0 %}",
        "Next": "Say",
    },
    "Say": {
        "Type": "Pass",
        "Output": {
            "before": "{% $redrives %}",
            "now": "{% $states.context.Execution.RedriveCount %}",
            "input": "{% $states.input %}",
        },
        "End": True,
    },
}


class Redrives(GlueTest):
    def entered(self, execution: str, state: str) -> bool:
        history = self.client("stepfunctions").get_execution_history(
            executionArn=execution, maxResults=1000
        )
        return any(
            event.get("stateEnteredEventDetails", {}).get("name") == state
            for event in history["events"]
        )

    def test_an_aborted_execution_goes_on_where_it_stood_with_its_variables_and_input(
        self,
    ) -> None:
        client = self.client("stepfunctions")
        execution = self.begin(STATES)
        wait_for(lambda: self.entered(execution, "Wait"))
        client.stop_execution(executionArn=execution)
        aborted = self.ended(execution)
        self.assertEqual(aborted["redriveStatus"], "REDRIVABLE")
        client.redrive_execution(executionArn=execution)
        ended = self.ended(execution)
        self.assertEqual(ended["status"], "SUCCEEDED")
        self.assertEqual(ended["redriveCount"], 1)
        self.assertEqual(
            json.loads(ended["output"]),
            {"before": 0, "now": 1, "input": {"kept": True}},
        )

    def test_a_fail_state_fails_again(self) -> None:
        client = self.client("stepfunctions")
        execution = self.begin({"Fail": {"Type": "Fail", "Error": "No", "Cause": "way"}})
        self.assertEqual(self.ended(execution)["status"], "FAILED")
        client.redrive_execution(executionArn=execution)
        again = self.ended(execution)
        self.assertEqual((again["error"], again["redriveCount"]), ("No", 1))

    def test_an_execution_that_succeeded_or_runs_cannot_be_redriven(self) -> None:
        client = self.client("stepfunctions")
        running = self.begin(STATES)
        succeeded = self.begin({"Say": {"Type": "Pass", "End": True}})
        self.ended(succeeded)
        for execution in (running, succeeded):
            with self.assertRaises(ClientError) as raised:
                client.redrive_execution(executionArn=execution)
            code = raised.exception.response["Error"]["Code"]
            self.assertEqual(code, "ExecutionNotRedrivable")
            told = client.describe_execution(executionArn=execution)
            self.assertEqual(told["redriveStatus"], "NOT_REDRIVABLE")

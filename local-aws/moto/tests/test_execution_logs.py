"""The log group of a state machine."""

import json
from typing import Any

from tests.support import ROLE, GlueTest, unique, wait_for

FAILS = {
    "Say": {"Type": "Pass", "Output": "said", "Next": "Give up"},
    "Give up": {"Type": "Fail", "Error": "Tired", "Cause": "of it"},
}


class ExecutionLogs(GlueTest):
    def setUp(self) -> None:
        super().setUp()
        self.group = unique("/states")
        self.client("logs").create_log_group(logGroupName=self.group)

    def run_machine(self, states: dict[str, Any], level: str, group: str, **more: Any) -> str:
        """Runs a machine that logs at a level to its end; the execution's ARN."""
        client = self.client("stepfunctions")
        arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
        machine = client.create_state_machine(
            name=unique("machine"),
            roleArn=ROLE,
            definition=json.dumps(
                {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
            ),
            loggingConfiguration={
                "level": level,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
                **more,
            },
        )["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=machine, input='{"a": 1}')
        self.ended(execution["executionArn"])
        return execution["executionArn"]

    def logged(self, execution: str) -> list[dict[str, Any]]:
        events = self.client("logs").filter_log_events(logGroupName=self.group)["events"]
        messages = [json.loads(event["message"]) for event in events]
        return [it for it in messages if it["execution_arn"] == execution]

    def test_errors_are_there_with_what_the_history_says(self) -> None:
        execution = self.run_machine(FAILS, "ERROR", self.group)
        types = [it["type"] for it in self.logged(execution)]
        self.assertEqual(types, ["FailStateEntered", "ExecutionFailed"])
        event = self.logged(execution)[-1]
        self.assertEqual(event["details"], {"error": "Tired", "cause": "of it"})
        history = self.client("stepfunctions").get_execution_history(executionArn=execution)
        last = history["events"][-1]
        self.assertEqual(event["id"], str(last["id"]))
        self.assertEqual(event["previous_event_id"], str(last["previousEventId"]))
        self.assertTrue(event["event_timestamp"].isdigit())
        streams = self.client("logs").describe_log_streams(logGroupName=self.group)
        name = streams["logStreams"][0]["logStreamName"]
        machine = execution.split(":")[-2]
        self.assertTrue(name.startswith(f"states/{machine}/"), name)

    def test_the_level_says_what_is_there_and_data_only_where_they_are_wanted(self) -> None:
        ok = {"Say": {"Type": "Pass", "Output": "said", "End": True}}
        execution = self.run_machine(ok, "ERROR", self.group)
        self.assertEqual(self.logged(execution), [])
        execution = self.run_machine(ok, "ALL", self.group)
        first = self.logged(execution)[0]
        self.assertEqual(first["type"], "ExecutionStarted")
        self.assertNotIn("input", first["details"])
        execution = self.run_machine(ok, "ALL", self.group, includeExecutionData=True)
        first = self.logged(execution)[0]
        self.assertEqual(json.loads(first["details"]["input"]), {"a": 1})

    def test_a_redrive_is_logged_behind_what_it_goes_on_from(self) -> None:
        execution = self.run_machine(FAILS, "ERROR", self.group)
        self.client("stepfunctions").redrive_execution(executionArn=execution)
        wait_for(lambda: len(self.logged(execution)) == 4)
        ids = [int(it["id"]) for it in self.logged(execution)]
        self.assertEqual(ids, sorted(set(ids)))

    def test_an_execution_ends_though_its_log_group_is_gone(self) -> None:
        execution = self.run_machine(FAILS, "ALL", unique("/gone"))
        self.assertEqual(self.ended(execution)["status"], "FAILED")
        self.assertEqual(self.logged(execution), [])

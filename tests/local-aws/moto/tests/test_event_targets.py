"""What rules send to their targets."""

import json
import threading
import unittest
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from glue import event_targets
from tests.support import ROLE, GlueTest, unique, wait_for

EVENT = {
    "id": "1",
    "detail-type": "t",
    "source": "s",
    "time": 0.0,
    "ingestion-time": 1.0,
    "detail": {"name": 'a "b"', "list": [1, 2], "number": 3},
}
RULE = "arn:aws:events:us-east-1:123456789012:rule/r"


class Payloads(unittest.TestCase):
    def test_the_event_itself_in_utc_and_without_what_is_internal(self) -> None:
        event = event_targets.as_delivered(EVENT)
        self.assertEqual(event["time"], "1970-01-01T00:00:00Z")
        self.assertNotIn("ingestion-time", event)
        self.assertEqual(json.loads(event_targets.payload({}, event)), event)

    def test_a_constant(self) -> None:
        self.assertEqual(event_targets.payload({"Input": '{"a":1}'}, EVENT), '{"a":1}')

    def test_a_part(self) -> None:
        target = {"InputPath": "$.detail.list"}
        self.assertEqual(event_targets.payload(target, EVENT), "[1, 2]")

    def test_a_template(self) -> None:
        transformer = {
            "InputPathsMap": {
                "name": "$.detail.name",
                "list": "$.detail.list",
                "number": "$.detail.number",
            },
            "InputTemplate": '{"n": <name>, "l": <list>, "t": "is <name>/<number> <x>"}',
        }
        text = event_targets.payload({"InputTransformer": transformer}, EVENT)
        expected = {"n": 'a "b"', "l": [1, 2], "t": 'is a "b"/3 <x>'}
        self.assertEqual(json.loads(text), expected)


class Policies(unittest.TestCase):
    def policy(self, **change: Any) -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnLike": {"AWS:SourceArn": RULE}},
            **change,
        }
        return json.dumps({"Statement": [statement]})

    def test_a_policy_for_the_rule_allows(self) -> None:
        self.assertTrue(event_targets.allows(self.policy(), RULE))

    def test_another_rule_or_service_or_no_policy_does_not(self) -> None:
        self.assertFalse(event_targets.allows(self.policy(), RULE + "x"))
        other = self.policy(Principal={"Service": "sns.amazonaws.com"})
        self.assertFalse(event_targets.allows(other, RULE))
        self.assertFalse(event_targets.allows(None, RULE))


class Deliveries(GlueTest):
    def rule(self, target: dict[str, Any], state: str = "ENABLED") -> str:
        """A rule for a source of its own, which is returned."""
        name, client = unique("rule"), self.client("events")
        pattern = json.dumps({"source": [name]})
        client.put_rule(Name=name, EventPattern=pattern, State=state)
        client.put_targets(Rule=name, Targets=[{"Id": "t", **target}])
        return name

    def put(self, source: str) -> None:
        entry = {"Source": source, "DetailType": "d", "Detail": '{"a": 1}'}
        answer = self.client("events").put_events(Entries=[entry])
        self.assertEqual(answer["FailedEntryCount"], 0)

    def test_a_queue_gets_the_event(self) -> None:
        url, arn = self.queue(unique("queue"))
        self.put(self.rule({"Arn": arn}))
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(event["detail"], {"a": 1})

    def test_a_disabled_rule_is_silent(self) -> None:
        url, arn = self.queue(unique("queue"))
        disabled = self.rule({"Arn": arn, "Input": "1"}, state="DISABLED")
        self.put(disabled)
        self.put(self.rule({"Arn": arn, "Input": "2"}))
        self.assertEqual([it["Body"] for it in self.received(url)], ["2"])

    def test_a_state_machine_starts(self) -> None:
        client = self.client("stepfunctions")
        machine = client.create_state_machine(
            name=unique("machine"),
            roleArn=ROLE,
            definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        )["stateMachineArn"]
        self.put(self.rule({"Arn": machine, "RoleArn": ROLE, "Input": '{"b":2}'}))

        def execution() -> Any:
            found = client.list_executions(stateMachineArn=machine)["executions"]
            return found[0]["executionArn"] if found else None

        described = client.describe_execution(executionArn=wait_for(execution))
        self.assertEqual(json.loads(described["input"]), {"b": 2})

    def test_a_function_without_permission_is_not_invoked(self) -> None:
        url, queue = self.queue(unique("dead"))
        function = "arn:aws:lambda:us-east-1:123456789012:function:none"
        self.put(self.rule({"Arn": function, "DeadLetterConfig": {"Arn": queue}}))
        message = self.received(url)[0]
        attributes = message["MessageAttributes"]
        self.assertEqual(attributes["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")
        self.assertEqual(attributes["TARGET_ARN"]["StringValue"], function)
        self.assertEqual(json.loads(message["Body"])["detail"], {"a": 1})

    def test_a_target_that_fails_is_tried_again(self) -> None:
        tries = threading.Semaphore(0)
        failures = [500, 500]

        def send(rule: str, target: dict[str, Any], body: str) -> None:
            tries.release()
            if failures:
                raise failing(failures.pop())

        with (
            mock.patch.dict(event_targets.SENDERS, {"lambda": send}),
            mock.patch.object(event_targets.time, "sleep"),
        ):
            event_targets.deliver(RULE, {"Arn": "arn:aws:lambda:r:a:function:f"}, "{}")
        self.assertTrue(all(tries.acquire(blocking=False) for _ in range(3)))
        self.assertFalse(tries.acquire(blocking=False))

    def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(self) -> None:
        url, queue = self.queue(unique("dead"))
        target = {
            "Arn": "arn:aws:lambda:r:a:function:f",
            "RetryPolicy": {"MaximumRetryAttempts": 1},
            "DeadLetterConfig": {"Arn": queue},
        }
        send = mock.Mock(side_effect=failing(500))
        with (
            mock.patch.dict(event_targets.SENDERS, {"lambda": send}),
            mock.patch.object(event_targets.time, "sleep"),
        ):
            event_targets.deliver(RULE, target, '{"x":1}')
        self.assertEqual(send.call_count, 2)
        message = self.received(url)[0]
        attributes = message["MessageAttributes"]
        self.assertEqual(message["Body"], '{"x":1}')
        self.assertEqual(attributes["RETRY_ATTEMPTS"]["StringValue"], "1")
        self.assertEqual(
            attributes["EXHAUSTED_RETRY_CONDITION"]["StringValue"],
            "MaximumRetryAttempts",
        )


def failing(status: int) -> ClientError:
    answer: Any = {
        "Error": {"Code": "ServiceException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Invoke")

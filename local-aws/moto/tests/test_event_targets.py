"""What rules send to their targets."""

import json
import os
import threading
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from glue import event_targets
from tests.support import ROLE, GlueTest, unique, wait_for

RULE = "arn:aws:events:us-east-1:123456789012:rule/r"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:none"


class Deliveries(GlueTest):
    def rule(self, target: dict[str, Any], state: str = "ENABLED") -> str:
        """A rule for a source of its own, which is returned."""
        name, client = unique("rule"), self.client("events")
        pattern = json.dumps({"source": [name]})
        client.put_rule(Name=name, EventPattern=pattern, State=state)
        client.put_targets(Rule=name, Targets=[{"Id": "t", **target}])
        return name

    def put(self, source: str, number: int = 1) -> None:
        detail = json.dumps({"a": number})
        entry = {"Source": source, "DetailType": "d", "Detail": detail}
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

    def machine(self) -> str:
        return self.client("stepfunctions").create_state_machine(
            name=unique("machine"),
            roleArn=ROLE,
            definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        )["stateMachineArn"]

    def test_a_state_machine_starts(self) -> None:
        client, machine = self.client("stepfunctions"), self.machine()
        role = self.role("states:StartExecution", machine)
        self.put(self.rule({"Arn": machine, "RoleArn": role, "Input": '{"b":2}'}))

        def execution() -> Any:
            found = client.list_executions(stateMachineArn=machine)["executions"]
            return found[0]["executionArn"] if found else None

        described = client.describe_execution(executionArn=wait_for(execution))
        self.assertEqual(json.loads(described["input"]), {"b": 2})

    def test_a_state_machine_is_not_started_with_a_role_that_may_not(self) -> None:
        machine = self.machine()
        url, queue = self.queue(unique("dead"))
        target = {"Arn": machine, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": queue}}
        self.put(self.rule(target))
        attributes = self.received(url)[0]["MessageAttributes"]
        self.assertEqual(attributes["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")
        executions = self.client("stepfunctions").list_executions(
            stateMachineArn=machine
        )
        self.assertEqual(executions["executions"], [])

    def test_a_queue_gets_events_in_their_order(self) -> None:
        name = f"{unique('queue')}.fifo"
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        url, arn = self.queue(name, **fifo)
        parameters = {"MessageGroupId": "g"}
        source = self.rule({"Arn": arn, "SqsParameters": parameters})
        for number in range(8):
            self.put(source, number)
        numbers: list[int] = []
        while len(numbers) < 8:
            for message in self.received(url):
                numbers.append(json.loads(message["Body"])["detail"]["a"])
                self.client("sqs").delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )
        self.assertEqual(numbers, list(range(8)))

    def test_targets_that_cannot_work_are_refused(self) -> None:
        _, arn = self.queue(unique("queue"))
        for target in (
            {"Arn": self.machine()},
            {"Arn": arn, "Input": "1", "InputPath": "$"},
            {"Arn": f"{arn}.fifo"},
        ):
            with self.subTest(target=target):
                with self.assertRaises(ClientError) as caught:
                    self.rule(target)
                error = caught.exception.response["Error"]
                self.assertEqual(error["Code"], "ValidationException")

    def test_a_function_without_permission_is_not_invoked(self) -> None:
        url, queue = self.queue(unique("dead"))
        self.put(self.rule({"Arn": FUNCTION, "DeadLetterConfig": {"Arn": queue}}))
        message = self.received(url)[0]
        attributes = message["MessageAttributes"]
        self.assertEqual(attributes["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")
        self.assertEqual(attributes["TARGET_ARN"]["StringValue"], FUNCTION)
        self.assertEqual(json.loads(message["Body"])["detail"], {"a": 1})

    def test_a_rule_without_a_pattern_gets_no_events(self) -> None:
        url, arn = self.queue(unique("queue"))
        client, name = self.client("events"), unique("rule")
        client.put_rule(Name=name, ScheduleExpression="rate(30 days)")
        self.addCleanup(client.delete_rule, Name=name)
        self.addCleanup(client.remove_targets, Rule=name, Ids=["t"])
        targets = [{"Id": "t", "Arn": arn, "Input": '"of the schedule"'}]
        client.put_targets(Rule=name, Targets=targets)
        self.put(self.rule({"Arn": arn, "Input": '"of the event"'}))
        bodies = [message["Body"] for message in self.received(url)]
        self.assertEqual(bodies, ['"of the event"'])

    def delivery(self, **target: Any) -> event_targets.Delivery:
        target = {"Arn": FUNCTION, **target}
        return event_targets.Delivery(RULE, target, '{"x":1}')

    def deliver(self, delivery: event_targets.Delivery, send: Any) -> list[float]:
        """Delivers to its end, with `send` for the sending; answers the pauses made."""
        with (
            mock.patch.dict(event_targets.SENDERS, {"lambda": send}),
            mock.patch.object(event_targets.time, "sleep") as sleep,
        ):
            if not delivery.attempt():
                delivery.insist()
        return [call.args[0] for call in sleep.call_args_list]

    def test_a_target_that_fails_is_tried_again(self) -> None:
        send = mock.Mock(side_effect=[failing(500), failing(429), None])
        pauses = self.deliver(self.delivery(), send)
        self.assertEqual(send.call_count, 3)
        self.assertEqual(len(pauses), 2)

    def test_pauses_pass_at_the_pace_of_the_local_clock(self) -> None:
        send = mock.Mock(side_effect=[failing(500)] * 3 + [None])
        with mock.patch.dict(os.environ, {"LOCAL_AWS_SPEED": "1000"}):
            pauses = self.deliver(self.delivery(), send)
        self.assertLess(max(pauses), 0.01)

    def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(self) -> None:
        url, queue = self.queue(unique("dead"))
        policy = {"MaximumRetryAttempts": 1}
        send = mock.Mock(side_effect=failing(500))
        self.deliver(
            self.delivery(RetryPolicy=policy, DeadLetterConfig={"Arn": queue}), send
        )
        self.assertEqual(send.call_count, 2)
        message = self.received(url)[0]
        attributes = message["MessageAttributes"]
        self.assertEqual(message["Body"], '{"x":1}')
        self.assertEqual(attributes["RETRY_ATTEMPTS"]["StringValue"], "1")
        self.assertEqual(
            attributes["EXHAUSTED_RETRY_CONDITION"]["StringValue"],
            "MaximumRetryAttempts",
        )

    def test_an_event_that_is_too_old_is_not_tried_again(self) -> None:
        url, queue = self.queue(unique("dead"))
        policy = {"MaximumEventAgeInSeconds": 60}
        delivery = self.delivery(RetryPolicy=policy, DeadLetterConfig={"Arn": queue})
        delivery.began -= 61
        send = mock.Mock(side_effect=failing(500))
        self.deliver(delivery, send)
        self.assertEqual(send.call_count, 1)
        attributes = self.received(url)[0]["MessageAttributes"]
        self.assertEqual(
            attributes["EXHAUSTED_RETRY_CONDITION"]["StringValue"],
            "MaximumEventAgeInSeconds",
        )

    def test_one_that_is_tried_again_does_not_hold_up_the_next(self) -> None:
        sent: list[str] = []
        broken = threading.Event()

        def send(rule: str, target: dict[str, Any], body: str) -> None:
            number = json.loads(body)["detail"]["a"]
            if number == 1 and not broken.is_set():
                broken.set()
                raise failing(500)
            sent.append(number)

        with (
            mock.patch.dict(event_targets.SENDERS, {"lambda": send}),
            mock.patch.dict(os.environ, {"LOCAL_AWS_SPEED": "2"}),
        ):
            source = self.rule({"Arn": FUNCTION})
            self.put(source, 1)
            self.put(source, 2)
            wait_for(lambda: len(sent) == 2)
        self.assertEqual(sent, [2, 1])


def failing(status: int) -> ClientError:
    answer: Any = {
        "Error": {"Code": "ServiceException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Invoke")

"""The life of executions, and what EventBridge is told of it."""

import json
import threading
from typing import Any
from unittest import mock

from moto.ecs.models import EC2ContainerServiceBackend
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication

from glue import aws_events, executions
from tests.support import ROLE, GlueTest, unique, wait_for

PAUSE = {"Pause": {"Type": "Wait", "Seconds": 60, "End": True}}


class StatusChanges(GlueTest):
    def setUp(self) -> None:
        super().setUp()
        self.step_functions = self.client("stepfunctions")
        self.events: list[dict[str, Any]] = []
        emit = aws_events.emit

        def seen(*event: Any, **more: Any) -> str:
            keys = ("account", "region", "source", "detail-type", "resources", "detail")
            self.events.append(dict(zip(keys, event, strict=True)))
            return emit(*event, **more)

        patched = mock.patch.object(aws_events, "emit", seen)
        patched.start()
        self.addCleanup(patched.stop)

    def details(self, execution: str) -> list[dict[str, Any]]:
        details = [event["detail"] for event in self.events]
        return [it for it in details if it["executionArn"] == execution]

    def statuses(self, execution: str) -> list[str]:
        return [detail["status"] for detail in self.details(execution)]

    def test_the_default_bus_gets_each_change_with_what_aws_documents(self) -> None:
        url, arn = self.queue(unique("changes"))
        pattern = {"source": ["aws.states"], "detail": {"status": ["SUCCEEDED"]}}
        rule = unique("rule")
        self.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
        self.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
        self.addCleanup(self.client("events").remove_targets, Rule=rule, Ids=["q"])
        states = {"Say": {"Type": "Pass", "Output": "said", "End": True}}
        execution = self.begin(states, {"a": 1})
        described = self.ended(execution)
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(event["detail-type"], "Step Functions Execution Status Change")
        self.assertEqual(event["resources"], [execution])
        self.assertEqual(
            event["detail"],
            {
                "executionArn": execution,
                "stateMachineArn": described["stateMachineArn"],
                "name": described["name"],
                "status": "SUCCEEDED",
                "startDate": int(described["startDate"].timestamp() * 1000),
                "stopDate": int(described["stopDate"].timestamp() * 1000),
                "input": '{"a": 1}',
                "inputDetails": {"included": True},
                "output": '"said"',
                "outputDetails": {"included": True},
                "stateMachineVersionArn": None,
                "stateMachineAliasArn": None,
                "redriveCount": 0,
                "redriveDate": None,
                "redriveStatus": "NOT_REDRIVABLE",
                "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
                "error": None,
                "cause": None,
            },
        )

    def test_every_change_of_status_is_told_in_order(self) -> None:
        fail = {"No": {"Type": "Fail", "Error": "Bad", "Cause": "So."}}
        failed = self.begin(fail)
        self.ended(failed)
        self.step_functions.redrive_execution(executionArn=failed)
        wait_for(lambda: len(self.statuses(failed)) == 4)
        self.assertEqual(self.statuses(failed), ["RUNNING", "FAILED"] * 2)
        first, last = self.details(failed)[1], self.details(failed)[3]
        self.assertEqual((first["error"], first["cause"]), ("Bad", "So."))
        self.assertEqual((first["output"], first["outputDetails"]), (None, None))
        self.assertEqual(first["redriveStatus"], "REDRIVABLE")
        self.assertEqual((first["redriveCount"], last["redriveCount"]), (0, 1))
        self.assertIsNone(self.details(failed)[2]["stopDate"])
        self.assertIsInstance(last["redriveDate"], int)

    def test_an_abort_is_told_at_once_and_once(self) -> None:
        execution = self.begin(PAUSE)
        for _ in range(2):
            self.step_functions.stop_execution(
                executionArn=execution, error="Person", cause="No need."
            )
        self.assertEqual(self.statuses(execution), ["RUNNING", "ABORTED"])
        self.assertEqual(self.details(execution)[1]["error"], "Person")

    def test_an_execution_that_takes_too_long_is_told_of(self) -> None:
        machine = self.step_functions.create_state_machine(
            name=unique("slow"),
            roleArn=ROLE,
            definition=json.dumps({"StartAt": "Pause", "TimeoutSeconds": 1, "States": PAUSE}),
        )["stateMachineArn"]
        started = self.step_functions.start_execution(stateMachineArn=machine)
        execution = started["executionArn"]
        self.assertEqual(self.ended(execution)["status"], "TIMED_OUT")
        wait_for(lambda: self.statuses(execution) == ["RUNNING", "TIMED_OUT"])
        history = self.step_functions.get_execution_history(executionArn=execution)
        self.assertEqual(history["events"][-1]["type"], "ExecutionTimedOut")

    def test_what_an_event_has_no_room_for_is_left_out(self) -> None:
        much, more = "a" * 200_000, "b" * 100_000
        both = executions._payload(json.dumps(much), json.dumps(more))
        self.assertEqual(both["inputDetails"], {"included": False})
        self.assertIsNone(both["input"])
        self.assertEqual(both["outputDetails"], {"included": True})
        neither = executions._payload(json.dumps(much), json.dumps(much + more))
        self.assertEqual(neither["outputDetails"], {"included": False})
        self.assertIsNone(neither["output"])

    def test_express_executions_are_not_told_of(self) -> None:
        definition = {"StartAt": "Go", "States": {"Go": {"Type": "Succeed"}}}
        machine = self.step_functions.create_state_machine(
            name=unique("express"),
            roleArn=ROLE,
            type="EXPRESS",
            definition=json.dumps(definition),
        )["stateMachineArn"]
        started = self.step_functions.start_execution(stateMachineArn=machine)
        self.ended(started["executionArn"])
        self.assertEqual(self.details(started["executionArn"]), [])


class Lives(GlueTest):
    def setUp(self) -> None:
        super().setUp()
        self.step_functions = self.client("stepfunctions")

    def test_an_execution_can_be_stopped_as_soon_as_it_has_begun(self) -> None:
        for _ in range(20):
            execution = self.begin(PAUSE)
            self.step_functions.stop_execution(executionArn=execution)
            history = self.step_functions.get_execution_history(executionArn=execution)
            types = [event["type"] for event in history["events"]]
            self.assertEqual((types[0], types[-1]), ("ExecutionStarted", "ExecutionAborted"))
            self.step_functions.redrive_execution(executionArn=execution)
            self.step_functions.stop_execution(executionArn=execution)

    def test_nothing_comes_behind_the_end_of_a_history(self) -> None:
        called, answered, over = (threading.Event() for _ in range(3))
        terminated = BaseExecutionWorkerCommunication.terminated

        def answer(*_: Any, **__: Any) -> list[Any]:
            called.set()
            answered.wait(10)
            return []

        def end(communication: BaseExecutionWorkerCommunication) -> None:
            terminated(communication)
            over.set()

        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:ecs:listTasks",
            "Arguments": {},
            "End": True,
        }
        with (
            mock.patch.object(EC2ContainerServiceBackend, "list_tasks", answer),
            mock.patch.object(BaseExecutionWorkerCommunication, "terminated", end),
        ):
            execution = self.begin({"Call": task})
            called.wait(10)
            self.step_functions.stop_execution(executionArn=execution)
            answered.set()
            self.assertTrue(over.wait(10))
        history = self.step_functions.get_execution_history(executionArn=execution)
        types = [event["type"] for event in history["events"]]
        self.assertEqual(types[-2:], ["TaskStarted", "ExecutionAborted"])

    def test_of_those_that_begin_at_once_with_one_name_there_is_one(self) -> None:
        definition = {"StartAt": "Pause", "States": PAUSE}
        machine = self.step_functions.create_state_machine(
            name=unique("one"), roleArn=ROLE, definition=json.dumps(definition)
        )["stateMachineArn"]

        def start() -> None:
            self.step_functions.start_execution(stateMachineArn=machine, name="one", input="{}")

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listed = self.step_functions.list_executions(stateMachineArn=machine)
        self.assertEqual(len(listed["executions"]), 1)

    def test_metadata_alone_has_neither_input_nor_output_nor_error(self) -> None:
        execution = self.begin({"No": {"Type": "Fail", "Error": "Bad"}}, {"a": 1})
        whole = self.ended(execution)
        self.assertEqual((whole["input"], whole["error"]), ('{"a": 1}', "Bad"))
        self.assertEqual(whole["inputDetails"], {"included": True})
        self.assertNotIn("redriveDate", whole)
        described = self.step_functions.describe_execution(
            executionArn=execution, includedData="METADATA_ONLY"
        )
        self.assertFalse({"input", "output", "error", "cause"} & set(described))
        self.assertEqual(described["inputDetails"], {"included": False})
        self.assertEqual((described["status"], described["redriveCount"]), ("FAILED", 0))

    def test_a_step_from_state_to_state_takes_milliseconds(self) -> None:
        states = {
            f"S{index}": {
                "Type": "Pass",
                "Assign": {"a": "{% $states.input %}"},
                "Output": "{% $states.input %}",
                "Next": f"S{index + 1}",
            }
            for index in range(15)
        }
        states["S15"] = {"Type": "Succeed"}
        ended = [self.execute(states, {"a": 1}) for _ in range(3)]
        self.assertEqual({one["status"] for one in ended}, {"SUCCEEDED"})
        # The machine that runs this may have more to do.
        best = min(one["stopDate"] - one["startDate"] for one in ended)
        self.assertLess(best.total_seconds(), 0.4)

    def test_a_failure_does_not_write_the_program_to_standard_error(self) -> None:
        with self.assertNoLogs("moto.stepfunctions", "ERROR"):
            self.execute({"No": {"Type": "Fail", "Error": "Bad"}})

"""Step Functions' API and its calls of other services."""

import json
import threading
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError
from moto.ecs.exceptions import ClusterNotFoundException
from moto.ecs.models import EC2ContainerServiceBackend

from tests.support import ROLE, GlueTest, unique, wait_for


class Executions(GlueTest):
    def waiting_machine(self, seconds: int = 30) -> str:
        states = {"Wait": {"Type": "Wait", "Seconds": seconds, "End": True}}
        created = self.client("stepfunctions").create_state_machine(
            name=unique("waiting"),
            roleArn=ROLE,
            definition=json.dumps({"StartAt": "Wait", "States": states}),
        )
        return created["stateMachineArn"]

    def start(self, machine: str, **parameters: str) -> str:
        answer = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, **parameters
        )
        return answer["executionArn"]

    def refused(self, code: str, machine: str, **parameters: str) -> None:
        with self.assertRaises(ClientError) as raised:
            self.start(machine, **parameters)
        self.assertEqual(raised.exception.response["Error"]["Code"], code)

    def test_an_execution_without_a_name_gets_one(self) -> None:
        machine = self.waiting_machine()
        self.assertNotEqual(self.start(machine), self.start(machine))

    def test_a_bad_name_or_input_is_refused(self) -> None:
        machine = self.waiting_machine()
        self.refused("InvalidName", machine, name="a/b")
        self.refused("ValidationException", machine, name="a" * 81)
        self.refused("InvalidExecutionInput", machine, input="{")

    def test_the_same_name_and_input_is_the_same_execution(self) -> None:
        machine = self.waiting_machine()
        first = self.start(machine, name="one", input="{}")
        self.assertEqual(self.start(machine, name="one", input="{}"), first)
        self.refused("ExecutionAlreadyExists", machine, name="one", input='{"a":1}')

    def test_a_history_is_told_by_pages_from_either_end(self) -> None:
        client = self.client("stepfunctions")
        execution = self.begin({"One": {"Type": "Pass", "Next": "Two"}, "Two": {"Type": "Succeed"}})
        ended = lambda: client.describe_execution(executionArn=execution)["status"] == "SUCCEEDED"
        wait_for(ended)
        pages = client.get_paginator("get_execution_history")

        def told(**asked: Any) -> list[list[int]]:
            answers = pages.paginate(executionArn=execution, **asked)
            return [[event["id"] for event in answer["events"]] for answer in answers]

        self.assertEqual(told(), [[1, 2, 3, 4, 5, 6]])
        self.assertEqual(told(maxResults=4), [[1, 2, 3, 4], [5, 6]])
        self.assertEqual(told(maxResults=4, reverseOrder=True), [[6, 5, 4, 3], [2, 1]])
        self.assertEqual(told(maxResults=3), [[1, 2, 3], [4, 5, 6]])
        with self.assertRaises(ClientError) as raised:
            client.get_execution_history(executionArn=execution, nextToken="of nobody")
        self.assertEqual(raised.exception.response["Error"]["Code"], "InvalidToken")

    def test_stopping_takes_effect_at_once_and_says_why(self) -> None:
        client = self.client("stepfunctions")
        execution = self.start(self.waiting_machine())
        wait_for(lambda: client.get_execution_history(executionArn=execution)["events"])
        client.stop_execution(executionArn=execution, error="Person", cause="no need")
        described = client.describe_execution(executionArn=execution)
        self.assertEqual(described["status"], "ABORTED")
        self.assertEqual(described["error"], "Person")
        self.assertEqual(described["cause"], "no need")
        self.assertIn("stopDate", described)

    def test_a_stopped_execution_stays_aborted_when_its_task_fails_later(self) -> None:
        client = self.client("stepfunctions")
        called, answered = threading.Event(), threading.Event()

        def refuse(*_: Any, **__: Any) -> None:
            called.set()
            answered.wait()
            raise ClusterNotFoundException

        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:ecs:listTasks",
            "Arguments": {},
            "End": True,
        }
        with patch.object(EC2ContainerServiceBackend, "list_tasks", refuse):
            execution = self.begin({"Call": task})
            called.wait()
            client.stop_execution(executionArn=execution)
            answered.set()

            def ends() -> list[str]:
                history = client.get_execution_history(executionArn=execution)
                types = (event["type"] for event in history["events"])
                return [one for one in types if one in ("ExecutionAborted", "ExecutionFailed")]

            self.assertEqual(wait_for(ends), ["ExecutionAborted"])
        self.assertEqual(self.ended(execution)["status"], "ABORTED")

    def test_an_output_is_json(self) -> None:
        states = {"Say": {"Type": "Pass", "Output": "text", "End": True}}
        self.assertEqual(self.execute(states)["output"], '"text"')


class AwsSdkIntegrations(GlueTest):
    def call(self, resource: str, arguments: Any) -> dict[str, Any]:
        return self.execute(
            {
                "Call": {
                    "Type": "Task",
                    "Resource": f"arn:aws:states:::aws-sdk:{resource}",
                    "Arguments": arguments,
                    "End": True,
                }
            }
        )

    def test_parameters_and_answers_are_in_pascal_case(self) -> None:
        ended = self.call("ecs:describeClusters", {"Clusters": ["nowhere"]})
        failures = json.loads(ended["output"])["Failures"]
        self.assertEqual(failures[0]["Reason"], "MISSING")

    def test_an_error_is_named_after_its_service(self) -> None:
        ended = self.call("ecs:listTasks", {"Cluster": "nowhere"})
        self.assertEqual(ended["error"], "Ecs.ClusterNotFoundException")

    def test_an_expression_that_fails_is_no_error_of_the_service(self) -> None:
        for resource in ("aws-sdk:dynamodb:getItem", "dynamodb:getItem"):
            ended = self.execute(
                {
                    "Call": {
                        "Type": "Task",
                        "Resource": f"arn:aws:states:::{resource}",
                        "Arguments": {"TableName": "{% $error('No.') %}"},
                        "End": True,
                    }
                }
            )
            self.assertEqual(ended["error"], "States.QueryEvaluationError", resource)

    def test_times_are_text(self) -> None:
        name = unique("machine")
        self.client("stepfunctions").create_state_machine(
            name=name,
            roleArn=ROLE,
            definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        )
        ended = self.call("sfn:listStateMachines", {})
        machines = json.loads(ended["output"])["StateMachines"]
        self.assertRegex(machines[0]["CreationDate"], r"^\d{4}-.*Z$")

"""Tasks that wait for their tokens. Lambda is a stub here: these tests answer in its place."""

import base64
import json
import queue
import threading
import time
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from moto.stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils import (
    LambdaFunctionErrorException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

from glue import task_tokens
from tests.support import ROLE, GlueTest, unique, wait_for

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:wait"


def waiting(**more: Any) -> dict[str, Any]:
    """A state that waits, and gives the task's result and its own retries."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {
            "FunctionName": FUNCTION,
            "Payload": {
                "token": "{% $states.context.Task.Token %}",
                "retries": "{% $states.context.State.RetryCount %}",
                "redrives": "{% $states.context.Execution.RedriveCount %}",
                "state": "{% $states.context.State.Name %}",
                "began": "{% $states.context.Execution.StartTime %}",
            },
        },
        "Output": "{% $states.result %}",
        "End": True,
        **more,
    }


class TaskTokens(GlueTest):
    def setUp(self) -> None:
        super().setUp()
        #: What functions were asked for.
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        self.invoke = mock.Mock(return_value={"Payload": None, "StatusCode": 200})

        def service_task(task: Any, env: Any, normalised_parameters: Any, **_: Any) -> None:
            asked = json.loads(normalised_parameters["Payload"])
            self.asked.put(asked)
            env.stack.append(self.invoke(asked))

        patched = mock.patch.object(StateTaskServiceLambda, "_eval_service_task", service_task)
        patched.start()
        self.addCleanup(patched.stop)
        self.step_functions = self.client("stepfunctions")

    def token(self) -> str:
        return self.asked.get(timeout=10)["token"]

    def succeed(self, token: str, output: Any = None) -> None:
        self.step_functions.send_task_success(taskToken=token, output=json.dumps(output))

    def refused(self, code: str, operation: str, **parameters: Any) -> None:
        with self.assertRaises(ClientError) as raised:
            getattr(self.step_functions, operation)(**parameters)
        response = raised.exception.response
        self.assertEqual(response["Error"]["Code"], code)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], 400)

    def history(self, execution: str) -> list[dict[str, Any]]:
        return self.step_functions.get_execution_history(executionArn=execution)["events"]

    def types(self, execution: str) -> list[str]:
        return [event["type"] for event in self.history(execution)]

    def submitted(self, execution: str) -> None:
        wait_for(lambda: "TaskSubmitted" in self.types(execution))

    def test_a_task_waits_until_its_token_is_answered_and_has_what_was_said(self) -> None:
        execution = self.begin({"Wait": waiting()})
        asked = self.asked.get(timeout=10)
        self.submitted(execution)
        described = self.step_functions.describe_execution(executionArn=execution)
        self.assertEqual(described["status"], "RUNNING")
        self.succeed(asked["token"], {"verdict": "healthy"})
        self.assertEqual(json.loads(self.ended(execution)["output"]), {"verdict": "healthy"})
        self.assertEqual(
            self.types(execution),
            [
                "ExecutionStarted",
                "TaskStateEntered",
                "TaskScheduled",
                "TaskStarted",
                "TaskSubmitted",
                "TaskSucceeded",
                "TaskStateExited",
                "ExecutionSucceeded",
            ],
        )
        self.assertEqual((asked["retries"], asked["redrives"], asked["state"]), (0, 0, "Wait"))
        started = described["startDate"].isoformat(timespec="milliseconds")
        self.assertEqual(asked["began"][:19], started[:19])

    def test_a_token_is_as_long_as_those_of_aws(self) -> None:
        execution = self.begin({"Wait": waiting()})
        token = self.token()
        self.assertTrue(token.startswith("AAAAKgAAAAIAAAAAAAAAA"))
        self.assertGreater(len(token), 600)
        self.assertLessEqual(len(token), 2048)
        described = self.step_functions.describe_execution(executionArn=execution)
        machine = base64.b64decode(token)[416:].decode()
        self.assertEqual(machine, described["stateMachineArn"])
        self.step_functions.stop_execution(executionArn=execution)

    def test_a_failure_has_the_name_and_the_cause_that_were_said(self) -> None:
        caught = {"ErrorEquals": ["MigrationFailed"], "Output": "{% $states.errorOutput %}"}
        states = {
            "Wait": waiting(Catch=[{**caught, "Next": "Caught"}]),
            "Caught": {"Type": "Succeed"},
        }
        execution = self.begin(states)
        self.step_functions.send_task_failure(
            taskToken=self.token(), error="MigrationFailed", cause="It exited with 1."
        )
        output = json.loads(self.ended(execution)["output"])
        self.assertEqual(output, {"Error": "MigrationFailed", "Cause": "It exited with 1."})
        [failed] = [it for it in self.history(execution) if it["type"] == "TaskFailed"]
        details = failed["taskFailedEventDetails"]
        self.assertEqual(details["resource"], "invoke.waitForTaskToken")
        self.assertEqual(details["resourceType"], "lambda")

    def test_a_call_that_fails_fails_the_task_at_once(self) -> None:
        error = json.dumps({"errorType": "BadInput", "errorMessage": "No."})
        self.invoke.side_effect = LambdaFunctionErrorException("Unhandled", error)
        execution = self.begin({"Wait": waiting(HeartbeatSeconds=60)})
        ended = self.ended(execution)
        self.assertEqual((ended["status"], ended["error"]), ("FAILED", "BadInput"))
        self.refused(
            "TaskTimedOut", "send_task_success", taskToken=self.token(), output="1"
        )

    def test_an_answer_before_the_call_is_over_lets_the_machine_go_on(self) -> None:
        over = threading.Event()
        self.invoke.side_effect = lambda _: over.wait(10)
        execution = self.begin({"Wait": waiting()})
        self.succeed(self.token(), "early")
        self.assertEqual(json.loads(self.ended(execution)["output"]), "early")
        over.set()

    def test_a_token_is_good_for_one_answer(self) -> None:
        execution = self.begin({"Wait": waiting()})
        token = self.token()
        self.succeed(token, 1)
        answers: tuple[tuple[str, dict[str, str]], ...] = (
            ("send_task_success", {"output": "2"}),
            ("send_task_failure", {"error": "Late"}),
            ("send_task_heartbeat", {}),
        )
        for operation, parameters in answers:
            self.refused("TaskTimedOut", operation, taskToken=token, **parameters)
        self.assertEqual(json.loads(self.ended(execution)["output"]), 1)

    def test_of_many_answers_at_once_one_counts(self) -> None:
        execution = self.begin({"Wait": waiting()})
        token, taken = self.token(), []

        def answer(number: int) -> None:
            try:
                self.succeed(token, number)
                taken.append(number)
            except ClientError:
                pass

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(taken, [json.loads(self.ended(execution)["output"])])

    def test_what_is_no_token_and_what_is_no_json_is_refused(self) -> None:
        execution = self.begin({"Wait": waiting()})
        token = self.token()
        unknown = task_tokens.Wait("arn:machine").token
        self.refused("InvalidToken", "send_task_success", taskToken="no token", output="1")
        self.refused("InvalidToken", "send_task_heartbeat", taskToken=token[30:])
        self.refused("TaskDoesNotExist", "send_task_failure", taskToken=unknown)
        self.refused("InvalidOutput", "send_task_success", taskToken=token, output="{")
        self.refused(
            "ValidationException", "send_task_failure", taskToken=token, cause="c" * 32_769
        )
        self.refused(
            "ValidationException", "send_task_failure", taskToken=token, error="e" * 257
        )
        self.succeed(token)
        self.assertEqual(self.ended(execution)["status"], "SUCCEEDED")

    def test_a_heartbeat_that_stays_out_is_retried_by_its_name_with_a_new_token(self) -> None:
        for name in ("States.HeartbeatTimeout", "States.Timeout", "States.ALL"):
            with self.subTest(name=name):
                again = {"ErrorEquals": [name], "IntervalSeconds": 1, "MaxAttempts": 2}
                execution = self.begin({"Wait": waiting(HeartbeatSeconds=1, Retry=[again])})
                first = self.asked.get(timeout=10)
                second = self.asked.get(timeout=10)
                self.assertNotEqual(first["token"], second["token"])
                self.assertEqual((first["retries"], second["retries"]), (0, 1))
                self.refused(
                    "TaskTimedOut", "send_task_success", taskToken=first["token"], output="1"
                )
                self.succeed(second["token"], 2)
                self.assertEqual(json.loads(self.ended(execution)["output"]), 2)
                events = self.history(execution)
                [timed_out] = [it for it in events if it["type"] == "TaskTimedOut"]
                self.assertEqual(
                    timed_out["taskTimedOutEventDetails"]["error"], "States.HeartbeatTimeout"
                )

    def test_a_failed_task_is_no_heartbeat_that_stays_out(self) -> None:
        again = {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1}
        ended = self.ended(self.begin({"Wait": waiting(HeartbeatSeconds=1, Retry=[again])}))
        self.assertEqual(ended["error"], "States.HeartbeatTimeout")

    def test_heartbeats_keep_a_task_waiting(self) -> None:
        execution = self.begin({"Wait": waiting(HeartbeatSeconds=1)})
        token = self.token()
        for _ in range(4):
            time.sleep(0.5)
            self.step_functions.send_task_heartbeat(taskToken=token)
        self.succeed(token, "alive")
        self.assertEqual(json.loads(self.ended(execution)["output"]), "alive")

    def test_time_is_up_however_many_heartbeats_come(self) -> None:
        execution = self.begin({"Wait": waiting(HeartbeatSeconds=1, TimeoutSeconds=2)})
        token = self.token()
        for _ in range(3):
            time.sleep(0.4)
            self.step_functions.send_task_heartbeat(taskToken=token)
        ended = self.ended(execution)
        self.assertEqual(ended["error"], "States.Timeout")
        self.refused("TaskTimedOut", "send_task_success", taskToken=token, output="1")

    def test_seconds_may_be_expressions(self) -> None:
        data = {"beat": 1, "all": 30}
        states = {
            "Wait": waiting(
                HeartbeatSeconds="{% $states.input.beat %}",
                TimeoutSeconds="{% $states.input.all %}",
            )
        }
        execution = self.begin(states, data)
        self.assertEqual(self.ended(execution)["error"], "States.HeartbeatTimeout")
        events = self.history(execution)
        [scheduled] = [it for it in events if it["type"] == "TaskScheduled"]
        details = scheduled["taskScheduledEventDetails"]
        self.assertEqual((details["heartbeatInSeconds"], details["timeoutInSeconds"]), (1, 30))
        for wrong in (0, -1, 1.5, "1"):
            ended = self.execute(states, {**data, "beat": wrong})
            self.assertEqual(ended["error"], "States.QueryEvaluationError", wrong)

    def test_a_heartbeat_brings_no_timeout_with_it(self) -> None:
        states = {"Wait": waiting(HeartbeatSeconds=60)}
        machine = {"QueryLanguage": "JSONata", "StartAt": "Wait", "States": states}
        program, _ = AmazonStateLanguageParser.parse(json.dumps(machine))
        timeout = program.states.states["Wait"].timeout
        self.assertEqual(timeout.timeout_seconds, 99_999_999)

    def test_aborting_ends_the_wait_at_once(self) -> None:
        execution = self.begin({"Wait": waiting()})
        token = self.token()
        self.submitted(execution)
        self.step_functions.stop_execution(executionArn=execution)
        self.refused("TaskTimedOut", "send_task_success", taskToken=token, output="1")
        self.assertEqual(self.types(execution)[-1], "ExecutionAborted")

    def test_a_redriven_execution_asks_anew(self) -> None:
        execution = self.begin({"Wait": waiting()})
        first = self.asked.get(timeout=10)
        self.step_functions.stop_execution(executionArn=execution)
        self.step_functions.redrive_execution(executionArn=execution)
        second = self.asked.get(timeout=10)
        self.assertNotEqual(first["token"], second["token"])
        self.assertEqual((second["redrives"], second["retries"]), (1, 0))
        self.assertEqual(first["began"], second["began"])
        running = self.step_functions.describe_execution(executionArn=execution)
        self.assertEqual((running["status"], running["redriveCount"]), ("RUNNING", 1))
        self.assertNotIn("stopDate", running)
        self.refused("TaskTimedOut", "send_task_success", taskToken=first["token"], output="1")
        self.succeed(second["token"], "again")
        self.assertEqual(json.loads(self.ended(execution)["output"]), "again")

    def test_the_end_of_a_branch_ends_the_waits_of_the_others(self) -> None:
        fail = {"Type": "Fail", "Error": "Other"}
        branches = [
            {"StartAt": "Wait", "States": {"Wait": waiting()}},
            {
                "StartAt": "Pause",
                "States": {"Pause": {"Type": "Wait", "Seconds": 1, "Next": "No"}, "No": fail},
            },
        ]
        execution = self.begin(
            {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}
        )
        self.assertEqual(self.ended(execution)["error"], "Other")
        self.refused("TaskTimedOut", "send_task_success", taskToken=self.token(), output="1")

    def test_an_answer_reaches_the_next_state_within_milliseconds(self) -> None:
        states = {f"Wait{index}": waiting(Next=f"Wait{index + 1}") for index in range(20)}
        for state in states.values():
            del state["End"]
        states["Wait20"] = waiting()
        execution, delays = self.begin(states), []
        for _ in range(20):
            token = self.token()
            before = time.monotonic()
            task_tokens._waits[token].settle(lambda: None)
            asked = self.asked.get(timeout=10)
            delays.append(time.monotonic() - before)
            self.asked.put(asked)
        self.succeed(self.token())
        self.assertEqual(self.ended(execution)["status"], "SUCCEEDED")
        # The machine that runs this may have more to do.
        self.assertLess(min(delays), 0.05)

    def test_hundreds_wait_at_once_and_cost_no_time(self) -> None:
        client = self.step_functions
        states = {"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": waiting()}}
        machine = client.create_state_machine(
            name=unique("hundreds"),
            roleArn=ROLE,
            definition=json.dumps(states),
        )["stateMachineArn"]
        executions = [
            client.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(500)
        ]
        tokens = [self.token() for _ in executions]
        used = time.process_time()
        time.sleep(1)
        self.assertLess(time.process_time() - used, 0.2)
        for token in tokens:
            self.succeed(token)
        for execution in executions:
            self.assertEqual(self.ended(execution)["status"], "SUCCEEDED")

"""What the checks find in machines that are wrong in one place."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

import check  # noqa: E402
import dataflow  # noqa: E402
from expressions import Expression  # noqa: E402


def machine(**states: dict) -> dict:
    return {"StartAt": "First", "States": states}


class Templates(unittest.TestCase):
    def test_a_number_that_is_written_as_a_string_is_named(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            template = Path(folder) / "template.yml"
            template.write_text(
                """
                AWSTemplateFormatVersion: '2010-09-09'
                Resources:
                  LogGroup:
                    Type: AWS::Logs::LogGroup
                    DeletionPolicy: Delete
                    UpdateReplacePolicy: Delete
                    Properties:
                      RetentionInDays: '30'
                """
            )
            [finding] = check.cfn_lint(template)
        self.assertIn("E3012", finding)


class Wildcards(unittest.TestCase):
    def findings(self, action: str) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            template = Path(folder) / "template.yml"
            template.write_text(
                f"""
                Resources:
                  Role:
                    Type: AWS::IAM::Role
                    Properties:
                      Policies:
                        - PolicyDocument:
                            Statement:
                              - !If
                                - IsWanted
                                - Effect: Allow
                                  Action: [{action}]
                                  Resource: '*'
                                - !Ref AWS::NoValue
                """
            )
            found = list(check.wildcards(template))
        return [it for it in found if "EVERY_RESOURCE" not in it]

    def test_an_action_on_every_resource_is_named_where_iam_knows_narrower_ones(self) -> None:
        [finding] = self.findings("ecs:StopTask")
        self.assertIn("ecs:StopTask is allowed on *; IAM knows task", finding)
        self.assertEqual(self.findings("ecs:DescribeTaskDefinition"), [])
        self.assertEqual(self.findings("ecs:RegisterTaskDefinition"), [])

    def test_an_action_that_aws_does_not_have_is_named(self) -> None:
        [finding] = self.findings("ecs:StopTasks")
        self.assertIn("is no action of AWS", finding)


class Variables(unittest.TestCase):
    def test_a_variable_that_every_way_assigns_may_be_read(self) -> None:
        found = dataflow.findings(
            machine(
                First={"Type": "Task", "Assign": {"x": 1}, "Next": "Last"},
                Last={"Type": "Succeed", "Output": "{% $x %}"},
            )
        )
        self.assertEqual(list(found), [])

    def test_a_variable_that_one_way_leaves_out_may_not(self) -> None:
        found = dataflow.findings(
            machine(
                First={
                    "Type": "Task",
                    "Assign": {"x": 1},
                    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Last"}],
                    "Next": "Last",
                },
                Last={"Type": "Succeed", "Output": "{% $x %}"},
            )
        )
        self.assertEqual(
            list(found), ["States.Last.Output: $x has no value on some way there"]
        )

    def test_a_loop_keeps_what_was_assigned_before_it(self) -> None:
        found = dataflow.findings(
            machine(
                First={"Type": "Task", "Assign": {"x": 1}, "Next": "Ask"},
                Ask={
                    "Type": "Choice",
                    "Choices": [{"Condition": "{% $x = 1 %}", "Next": "Last"}],
                    "Default": "Pause",
                },
                Pause={"Type": "Wait", "Seconds": 1, "Next": "Ask"},
                Last={"Type": "Succeed"},
            )
        )
        self.assertEqual(list(found), [])

    def test_a_state_that_nothing_leads_to_is_named(self) -> None:
        found = dataflow.findings(
            machine(First={"Type": "Succeed"}, Second={"Type": "Succeed"})
        )
        self.assertEqual(list(found), ["States.Second: no way leads there"])

    def test_the_result_of_a_task_is_known_in_the_task_alone(self) -> None:
        found = dataflow.findings(
            machine(
                First={"Type": "Task", "Output": "{% $states.result %}", "Next": "Last"},
                Last={"Type": "Succeed", "Output": "{% $states.result %}"},
            )
        )
        self.assertEqual(
            list(found), ["States.Last.Output: there is no $states.result there"]
        )

    def test_a_variable_that_nothing_reads_is_named(self) -> None:
        found = dataflow.findings(machine(First={"Type": "Succeed", "Assign": {"x": 1}}))
        self.assertEqual(list(found), ["$x is assigned and never read"])


def waiting(heartbeat: str, **more: object) -> dict:
    retrier = {"ErrorEquals": ["States.HeartbeatTimeout"], "IntervalSeconds": 1, "MaxAttempts": 99_999}
    return {"Type": "Task", "HeartbeatSeconds": heartbeat, "Retry": [retrier], **more}


class Waits(unittest.TestCase):
    GROWING = "{% $max([60, 2 * $states.context.State.RetryCount]) %}"
    STEADY = "{% $max([60, 1]) %}"

    def test_a_heartbeat_that_does_not_grow_is_named(self) -> None:
        found = check.heartbeats(machine(First=waiting(self.STEADY)))
        self.assertIn("asks again after 60 s instead of 62 s", next(found))
        self.assertEqual(list(check.heartbeats(machine(First=waiting(self.GROWING)))), [])

    def test_waits_that_fill_the_history_are_named(self) -> None:
        for heartbeat, findings in ((self.GROWING, 0), (self.STEADY, 1)):
            one = {**machine(First=waiting(heartbeat)), "TimeoutSeconds": 1_209_600}
            self.assertEqual(len(list(check.history(one))), findings, heartbeat)

    def test_a_wait_that_is_given_up_is_named(self) -> None:
        state = waiting(self.GROWING)
        state["Retry"][0]["MaxAttempts"] = 3
        [finding] = check.history({**machine(First=state), "TimeoutSeconds": 1_209_600})
        self.assertIn("is given up after 3 heartbeats", finding)

    def test_a_heartbeat_behind_another_timeout_is_named(self) -> None:
        state = waiting(self.GROWING)
        state["Retry"].insert(0, {"ErrorEquals": ["States.Timeout"], "MaxAttempts": 8})
        [finding] = check.retriers(machine(First=state))
        self.assertIn("another retrier comes before", finding)

    def test_a_retrier_that_never_retries_carries_nothing_else(self) -> None:
        never = {"ErrorEquals": ["X"], "MaxAttempts": 0, "IntervalSeconds": 1}
        [finding] = check.retriers(machine(First={"Type": "Task", "Retry": [never]}))
        self.assertIn("MaxAttempts 0", finding)


class Syntax(unittest.TestCase):
    def test_calls_locals_and_reads_are_told_apart(self) -> None:
        found = Expression.parse("here", "{% ($a := $max([1, $b]); $a & $states.input.c) %}")
        self.assertEqual(found.calls, {"max"})
        self.assertEqual(found.locals, {"a"})
        self.assertEqual(found.reads, {"b"})
        self.assertEqual(found.reserved, {"input"})

    def test_an_expression_that_does_not_parse_says_so(self) -> None:
        self.assertIn("$a +", Expression.parse("here", "{% $a + %}").error)


if __name__ == "__main__":
    unittest.main()

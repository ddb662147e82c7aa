"""JSONata in state machines."""

import hashlib
import unittest

from glue.jsonata_evaluator import EvaluationError, evaluate
from tests.support import GlueTest


class Functions(unittest.TestCase):
    def test_partition_makes_arrays_of_a_size(self) -> None:
        self.assertEqual(evaluate("$partition([1..5], 2)", {}), [[1, 2], [3, 4], [5]])

    def test_range_includes_both_ends(self) -> None:
        self.assertEqual(evaluate("$range(0, 10, 5)", {}), [0, 5, 10])
        self.assertEqual(evaluate("$range(3, 1, -1)", {}), [3, 2, 1])

    def test_range_is_limited(self) -> None:
        with self.assertRaises(EvaluationError):
            evaluate("$range(0, 5000, 1)", {})

    def test_hash_is_hexadecimal(self) -> None:
        expected = hashlib.sha256(b"a").hexdigest()
        self.assertEqual(evaluate("$hash('a', 'SHA-256')", {}), expected)

    def test_a_seeded_random_number_repeats(self) -> None:
        self.assertEqual(evaluate("$random(7)", {}), evaluate("$random(7)", {}))
        self.assertTrue(evaluate("$random() < 1", {}))

    def test_uuid_differs_each_time(self) -> None:
        self.assertNotEqual(evaluate("$uuid()", {}), evaluate("$uuid()", {}))

    def test_parse_reads_json(self) -> None:
        value = evaluate("$parse($text)", {"text": '{"a": [1, null]}'})
        self.assertEqual(value, {"a": [1, None]})

    def test_eval_is_refused(self) -> None:
        with self.assertRaisesRegex(EvaluationError, "not supported"):
            evaluate("$eval('1')", {})


class Values(unittest.TestCase):
    def test_text_is_not_pasted_into_the_expression(self) -> None:
        text = 'quote " backslash \\ newline \n'
        self.assertEqual(evaluate("$text & '!'", {"text": text}), text + "!")

    def test_null_is_a_value_and_undefined_is_an_error(self) -> None:
        variables = {"states": {"input": {"there": None}}}
        self.assertIsNone(evaluate("$states.input.there", variables))
        self.assertTrue(evaluate("$states.input.there = null", variables))
        with self.assertRaisesRegex(EvaluationError, "undefined"):
            evaluate("$states.input.gone", variables)

    def test_a_whole_number_is_an_integer(self) -> None:
        self.assertEqual(repr(evaluate("4 / 2", {})), "2")

    def test_a_predicate_may_use_the_context(self) -> None:
        variables = {"list": [{"v": 1}, {"v": 2}]}
        self.assertEqual(evaluate("$list[$.v > 1].v", variables), 2)

    def test_a_function_is_no_value(self) -> None:
        with self.assertRaisesRegex(EvaluationError, "unsupported"):
            evaluate("function($x) { $x }", {})


class Machines(GlueTest):
    def test_the_context_tells_execution_and_state(self) -> None:
        ended = self.execute(
            {
                "Look": {
                    "Type": "Pass",
                    "End": True,
                    "Output": {
                        "id": "{% $states.context.Execution.Id %}",
                        "state": "{% $states.context.State.Name %}",
                        "elapsed": "{% $toMillis($states.context.State.EnteredTime)"
                        " - $toMillis($states.context.Execution.StartTime) < 60000 %}",
                        "zone": "{% $substring($states.context.State.EnteredTime, -1) %}",
                    },
                }
            }
        )
        self.assertEqual(ended["status"], "SUCCEEDED", ended)
        arn = ended["executionArn"]
        expected = f'{{"id": "{arn}", "state": "Look", "elapsed": true, "zone": "Z"}}'
        self.assertEqual(ended["output"], expected)

    def test_assigned_text_keeps_its_quotes(self) -> None:
        ended = self.execute(
            {
                "Say": {
                    "Type": "Pass",
                    "Assign": {"said": "{% 'say \"hi\"' %}"},
                    "Next": "Repeat",
                },
                "Repeat": {"Type": "Pass", "Output": "{% $said %}", "End": True},
            }
        )
        self.assertEqual(ended.get("output"), '"say \\"hi\\""', ended)
        history = self.client("stepfunctions").get_execution_history(
            executionArn=ended["executionArn"]
        )
        assigned = [
            event["stateExitedEventDetails"].get("assignedVariables")
            for event in history["events"]
            if event["type"] == "PassStateExited"
        ]
        self.assertEqual(assigned[0], {"said": '"say \\"hi\\""'})

    def test_an_undefined_value_is_a_query_evaluation_error(self) -> None:
        ended = self.execute(
            {"Look": {"Type": "Pass", "Output": "{% $states.input.no %}", "End": True}}
        )
        self.assertEqual(ended["error"], "States.QueryEvaluationError")
        self.assertIn("returned nothing (undefined)", ended["cause"])

    def test_a_query_evaluation_error_can_be_caught(self) -> None:
        ended = self.execute(
            {
                "Ask": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:ecs:listClusters",
                    "Arguments": "{% $states.input.no %}",
                    "Catch": [
                        {
                            "ErrorEquals": ["States.QueryEvaluationError"],
                            "Output": "{% $states.errorOutput.Error %}",
                            "Next": "Done",
                        }
                    ],
                    "End": True,
                },
                "Done": {"Type": "Succeed"},
            }
        )
        self.assertEqual(ended.get("output"), '"States.QueryEvaluationError"', ended)

    def test_a_choice_compares_with_null(self) -> None:
        states = {
            "Decide": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": "{% $states.input.m != null %}", "Next": "A"}
                ],
                "Default": "B",
            },
            "A": {"Type": "Succeed", "Output": "some"},
            "B": {"Type": "Succeed", "Output": "none"},
        }
        self.assertEqual(self.execute(states, {"m": None})["output"], '"none"')
        self.assertEqual(self.execute(states, {"m": {}})["output"], '"some"')

"""What rules make of events."""

import json
import unittest
from typing import Any

from moto.events.models import Rule

from glue import event_templates

EVENT = {
    "id": "1",
    "detail-type": "t",
    "source": "s",
    "time": 0.0,
    "ingestion-time": 1.0,
    "detail": {
        "instance-id": "i-0",
        "state": "RUNNING",
        "list": [{"n": 1}, {"n": 2}],
        "number": 3,
        "quoted": 'a "b"',
    },
}
DELIVERED = event_templates.as_delivered(EVENT)
RULE = Rule("r", "1", "us-east-1", None, "{}", None, None, "default", None)


class Templates(unittest.TestCase):
    def sent(self, **target: Any) -> str:
        variables = event_templates.predefined(RULE, DELIVERED, 1.0)
        return event_templates.payload(target, DELIVERED, variables)

    def of_template(self, template: str, **paths: str) -> str:
        transformer = {"InputTemplate": template, "InputPathsMap": paths}
        return self.sent(InputTransformer=transformer)

    def test_the_event_itself_in_utc_and_without_what_is_internal(self) -> None:
        self.assertEqual(DELIVERED["time"], "1970-01-01T00:00:00Z")
        self.assertNotIn("ingestion-time", DELIVERED)
        self.assertEqual(json.loads(self.sent()), DELIVERED)
        self.assertNotIn(": ", self.sent())

    def test_a_constant_is_sent_as_it_is(self) -> None:
        self.assertEqual(self.sent(Input='{"a": 1}'), '{"a": 1}')

    def test_a_part_of_the_event(self) -> None:
        self.assertEqual(self.sent(InputPath="$.detail.instance-id"), '"i-0"')
        self.assertEqual(self.sent(InputPath="$.detail.list[1].n"), "2")
        self.assertEqual(self.sent(InputPath="$.detail.list[*].n"), "[1,2]")

    # The table of examples of
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html

    PATHS = {"instance": "$.detail.instance-id", "state": "$.detail.state"}

    def test_a_string_with_variables(self) -> None:
        text = self.of_template('"instance <instance> is in <state>"', **self.PATHS)
        self.assertEqual(text, '"instance i-0 is in RUNNING"')

    def test_a_string_with_escaped_quotes(self) -> None:
        template = r'"instance \"<instance>\" is in <state>"'
        text = self.of_template(template, **self.PATHS)
        self.assertEqual(text, r'"instance \"i-0\" is in RUNNING"')

    def test_a_variable_outside_of_a_string_is_a_json_value(self) -> None:
        template = '{"instance" : <instance>, "state": [ 9, <state>, true ], "l": <l>}'
        text = self.of_template(template, l="$.detail.list", **self.PATHS)
        expected = '{"instance":"i-0","state":[9,"RUNNING",true],"l":[{"n":1},{"n":2}]}'
        self.assertEqual(text, expected)

    def test_a_variable_within_a_string_is_its_text(self) -> None:
        template = r'{"state": "<state>", "is": "\"<instance>\" has <number>"}'
        text = self.of_template(template, number="$.detail.number", **self.PATHS)
        self.assertEqual(json.loads(text), {"state": "RUNNING", "is": '"i-0" has 3'})

    def test_the_rule_and_the_event_are_predefined(self) -> None:
        text = self.of_template(
            '{"arn": <aws.events.rule-arn>, "name": "<aws.events.rule-name> triggered", '
            '"at": <aws.events.event.ingestion-time>, "envelope": <aws.events.event>, '
            '"event": <aws.events.event.json>}'
        )
        envelope = {key: value for key, value in DELIVERED.items() if key != "detail"}
        self.assertEqual(
            json.loads(text),
            {
                "arn": "arn:aws:events:us-east-1:1:rule/r",
                "name": "r triggered",
                "at": "1970-01-01T00:00:01Z",
                "envelope": envelope,
                "event": DELIVERED,
            },
        )

    def test_a_value_is_not_escaped_within_a_string(self) -> None:
        text = self.of_template('"it is <quoted>"', quoted="$.detail.quoted")
        self.assertEqual(text, '"it is a "b""')

    def test_what_the_path_does_not_find_is_an_empty_text(self) -> None:
        text = self.of_template('{"a": <none>, "b": "x<none>"}', none="$.detail.none")
        self.assertEqual(json.loads(text), {"a": "", "b": "x"})

    def test_what_is_no_variable_stays(self) -> None:
        self.assertEqual(self.of_template('"a <b> c"'), '"a <b> c"')

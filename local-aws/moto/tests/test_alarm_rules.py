import unittest

from glue.alarm_rules import InvalidRule, parse

STATES = {"high errors": "ALARM", "slow": "OK", "a-b.c": "INSUFFICIENT_DATA"}


class Rules(unittest.TestCase):
    def test_states_of_alarms_are_combined(self) -> None:
        for text, expected in {
            'ALARM("high errors")': True,
            "ALARM('high errors') AND ALARM(slow)": False,
            'ALARM("high errors") AND NOT ALARM(slow)': True,
            "OK(slow) AND (FALSE OR INSUFFICIENT_DATA(a-b.c))": True,
            "ALARM(slow)\n OR ALARM(missing) OR TRUE": True,
            "ALARM(arn:aws:cloudwatch:us-east-1:1:alarm:slow)": False,
            'OK("arn:aws:cloudwatch:us-east-1:1:alarm:slow")': True,
        }.items():
            with self.subTest(text):
                self.assertEqual(parse(text).holds(STATES.get), expected)

    def test_a_rule_knows_its_alarms(self) -> None:
        rule = parse('ALARM("high errors") OR OK(arn:aws:cloudwatch:r:1:alarm:a:b)')
        self.assertEqual(rule.alarms, {"high errors", "a:b"})

    def test_what_is_no_rule_is_refused(self) -> None:
        for text in ("", "slow", "ALARM()", "ALARM(slow) AND", "1", "ALARM(slow) + 1"):
            with self.subTest(text):
                self.assertRaises(InvalidRule, parse, text)

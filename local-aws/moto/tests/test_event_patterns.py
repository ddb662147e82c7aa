"""Which events match which patterns."""

import json
import unittest
from typing import Any

from botocore.exceptions import ClientError
from moto.events.exceptions import InvalidEventPatternException

from glue import event_patterns
from tests.support import GlueTest


class Patterns(unittest.TestCase):
    def match(self, condition: Any, *values: Any) -> None:
        for value in values:
            with self.subTest(condition=condition, value=value):
                self.assertTrue(self.of_field(condition, value))

    def reject(self, condition: Any, *values: Any) -> None:
        for value in values:
            with self.subTest(condition=condition, value=value):
                self.assertFalse(self.of_field(condition, value))

    def of_field(self, condition: Any, value: Any) -> bool:
        pattern = {"detail": {"field": [condition]}}
        event_patterns.check(pattern)
        return event_patterns.matches(pattern, {"detail": {"field": value}})

    def test_a_value_equals_itself_alone(self) -> None:
        self.match("a", "a", ["b", "a"])
        self.reject("a", "A", "ab", ["b"], {"a": "a"}, None)
        self.match(None, None)
        self.reject(None, "", 0, False)
        self.match("", "")
        self.match(True, True)
        self.reject(True, 1, "true")
        self.reject(300, 300.0, "300")

    def test_prefix(self) -> None:
        self.match({"prefix": "ab"}, "ab", "abc", ["x", "abc"])
        self.reject({"prefix": "ab"}, "a", "cab", "ABC", 1)
        self.match({"prefix": {"equals-ignore-case": "Ab"}}, "aBc")
        self.match({"prefix": ["x", "a"]}, "abc")

    def test_suffix(self) -> None:
        self.match({"suffix": ".png"}, "a.png")
        self.reject({"suffix": ".png"}, "a.PNG", "png", None)
        self.match({"suffix": {"equals-ignore-case": ".png"}}, "a.PNG")

    def test_equals_ignore_case(self) -> None:
        self.match({"equals-ignore-case": "alice"}, "ALICE")
        self.reject({"equals-ignore-case": "alice"}, "alic", 1)

    def test_wildcard(self) -> None:
        self.match({"wildcard": "a*c*"}, "abc", "ac", "a\nbcd")
        self.reject({"wildcard": "a*c"}, "abcd", 3)
        self.match({"wildcard": r"a\*\\*"}, r"a*\b")
        self.reject({"wildcard": r"a\*"}, "ab")

    def test_numeric(self) -> None:
        self.match({"numeric": [">", 0, "<=", 5]}, 5, 0.1)
        self.reject({"numeric": [">", 0, "<=", 5]}, 0, 5.1, "3", True)
        self.match({"numeric": ["=", 3.018e2]}, 301.8)

    def test_anything_but(self) -> None:
        self.match({"anything-but": "a"}, "b", 1, None, ["a", "b"])
        self.reject({"anything-but": "a"}, "a", ["a"], {})
        self.reject({"anything-but": ["a", "b"]}, "b")
        self.match({"anything-but": [1, 2]}, 3)
        self.reject({"anything-but": {"prefix": "a"}}, "ab")
        self.match({"anything-but": {"suffix": ["a", "b"]}}, "c")
        self.reject({"anything-but": {"wildcard": "*/lib/*"}}, "/usr/lib/x")
        self.reject({"anything-but": {"equals-ignore-case": "a"}}, "A")

    def test_an_absent_field_is_not_anything_but(self) -> None:
        pattern = {"detail": {"image-tag": [{"anything-but": [""]}]}}
        self.assertFalse(event_patterns.matches(pattern, {"detail": {}}))
        for tag, expected in (("", False), ("v1", True)):
            event = {"detail": {"image-tag": tag}}
            self.assertEqual(event_patterns.matches(pattern, event), expected)

    def test_exists_is_about_leaves(self) -> None:
        self.match({"exists": True}, "a", None, False)
        self.reject({"exists": True}, {"b": 1})
        self.match({"exists": False}, {"b": 1})
        nested = {"a": {"b": [{"exists": False}]}}
        self.assertTrue(event_patterns.matches(nested, {}))
        self.assertFalse(event_patterns.matches(nested, {"a": {"b": 0}}))

    def test_cidr(self) -> None:
        self.match({"cidr": "10.0.0.0/24"}, "10.0.0.255")
        self.reject({"cidr": "10.0.0.0/24"}, "10.0.1.0", "host", None)

    def test_or_joins_fields_beside_others(self) -> None:
        pattern = {
            "source": ["aws.ecs"],
            "detail": {"$or": [{"a": [1]}, {"b": {"c": [2]}}], "d": [3]},
        }
        event_patterns.check(pattern)
        for detail, expected in (
            ({"a": 1, "d": 3}, True),
            ({"b": {"c": 2}, "d": 3}, True),
            ({"a": 1}, False),
            ({"a": 2, "d": 3}, False),
        ):
            event = {"source": "aws.ecs", "detail": detail}
            self.assertEqual(event_patterns.matches(pattern, event), expected)

    def test_one_element_of_an_array_has_to_be_right_in_all_fields(self) -> None:
        pattern = {"containers": {"name": ["web"], "lastStatus": ["STOPPED"]}}
        containers = [
            {"name": "web", "lastStatus": "RUNNING"},
            {"name": "log", "lastStatus": "STOPPED"},
        ]
        self.assertFalse(event_patterns.matches(pattern, {"containers": containers}))
        containers[0]["lastStatus"] = "STOPPED"
        self.assertTrue(event_patterns.matches(pattern, {"containers": containers}))

    def test_a_dot_is_part_of_a_name(self) -> None:
        self.assertFalse(event_patterns.matches({"a.b": [1]}, {"a": {"b": 1}}))
        self.assertTrue(event_patterns.matches({"a.b": [1]}, {"a.b": 1}))

    def test_what_is_no_pattern_is_refused(self) -> None:
        for pattern in (
            [],
            {"a": "b"},
            {"a": []},
            {"a": [["b"]]},
            {"a": [{"begins-with": "b"}]},
            {"a": [{"prefix": "b", "suffix": "c"}]},
            {"a": [{"prefix": 1}]},
            {"a": [{"numeric": [">"]}]},
            {"a": [{"numeric": ["~", 1]}]},
            {"a": [{"anything-but": ["a", 1]}]},
            {"a": [{"anything-but": {"exists": True}}]},
            {"a": [{"exists": "true"}]},
            {"a": [{"cidr": "10.0.0.0/33"}]},
            {"$or": [{"a": ["b"]}]},
            {"a": {"b": {"c": "d"}}},
        ):
            with self.subTest(pattern=pattern):
                with self.assertRaises(InvalidEventPatternException):
                    event_patterns.check(pattern)


class Apis(GlueTest):
    def test_a_pattern_can_be_tried_on_an_event(self) -> None:
        event = {
            "id": "1",
            "account": "123456789012",
            "source": "s",
            "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail-type": "t",
            "detail": {"a": [{"b": 1}]},
        }
        for wanted, expected in ((1, True), (2, False)):
            answer = self.client("events").test_event_pattern(
                EventPattern=json.dumps({"detail": {"a": {"b": [wanted]}}}),
                Event=json.dumps(event),
            )
            self.assertEqual(answer["Result"], expected)

    def test_a_rule_with_an_unknown_operator_is_refused(self) -> None:
        pattern = json.dumps({"source": [{"begins-with": "aws"}]})
        with self.assertRaises(ClientError) as caught:
            self.client("events").put_rule(Name="r", EventPattern=pattern)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], "InvalidEventPatternException")
        self.assertIn("begins-with", error["Message"])

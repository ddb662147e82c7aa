"""What EventBridge may do."""

import json
import unittest
from typing import Any

from glue.event_permissions import resource_allows, role_allows
from tests.support import GlueTest, unique

RULE = "arn:aws:events:us-east-1:123456789012:rule/r"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:m"


class ResourcePolicies(unittest.TestCase):
    def policy(self, **change: Any) -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Condition": {"ArnLike": {"AWS:SourceArn": RULE}},
            **change,
        }
        return json.dumps({"Statement": [statement]})

    def test_a_policy_for_the_rule_allows(self) -> None:
        self.assertTrue(resource_allows(self.policy(), RULE))
        likes = {"ArnLike": {"aws:SourceArn": ["arn:x", RULE[:-1] + "*"]}}
        self.assertTrue(resource_allows(self.policy(Condition=likes), RULE))
        self.assertTrue(resource_allows(self.policy(Condition={}), RULE))

    def test_another_rule_or_service_or_no_policy_does_not(self) -> None:
        self.assertFalse(resource_allows(self.policy(), RULE + "x"))
        other = self.policy(Principal={"Service": "sns.amazonaws.com"})
        self.assertFalse(resource_allows(other, RULE))
        self.assertFalse(resource_allows(self.policy(Effect="Deny"), RULE))
        self.assertFalse(resource_allows(None, RULE))


class Roles(GlueTest):
    def allowed(self, service: str, action: str, resource: str) -> bool:
        role = self.role(action, resource, service)
        return role_allows(role, "states:StartExecution", MACHINE)

    def test_a_role_has_to_trust_eventbridge_and_to_have_the_permission(self) -> None:
        events = "events.amazonaws.com"
        self.assertTrue(self.allowed(events, "states:StartExecution", MACHINE))
        self.assertTrue(self.allowed(events, "states:Start*", "*"))
        self.assertFalse(self.allowed("states.amazonaws.com", "states:*", "*"))
        self.assertFalse(self.allowed(events, "states:StopExecution", MACHINE))
        self.assertFalse(self.allowed(events, "states:StartExecution", MACHINE + "x"))

    def test_a_role_that_does_not_exist_allows_nothing(self) -> None:
        role = f"arn:aws:iam::123456789012:role/{unique('none')}"
        self.assertFalse(role_allows(role, "states:StartExecution", MACHINE))

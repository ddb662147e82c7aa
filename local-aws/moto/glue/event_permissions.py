"""Whether EventBridge may do what a rule asks of it: by a resource's policy, or by a role.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

import json
from fnmatch import fnmatchcase
from typing import Any

from glue import role_policies

SERVICE = "events.amazonaws.com"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _allowing(policy: str | None) -> list[dict[str, Any]]:
    statements = _listed(json.loads(policy).get("Statement", [])) if policy else []
    return [one for one in statements if one.get("Effect") == "Allow"]


def _is_for_events(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    service = principal.get("Service") if isinstance(principal, dict) else principal
    return bool({"*", SERVICE} & set(_listed(service)))


def resource_allows(policy: str | None, rule_arn: str) -> bool:
    """Whether a resource's policy lets EventBridge in for this rule."""
    return any(
        _is_for_events(statement) and _is_for_rule(statement, rule_arn)
        for statement in _allowing(policy)
    )


def _is_for_rule(statement: dict[str, Any], rule_arn: str) -> bool:
    sources = [
        _listed(value)
        for condition in statement.get("Condition", {}).values()
        for key, value in condition.items()
        if key.lower() == "aws:sourcearn"
    ]
    return all(
        any(fnmatchcase(rule_arn, pattern) for pattern in patterns)
        for patterns in sources
    )


def role_allows(role_arn: str, action: str, resource: str) -> bool:
    """Whether EventBridge may assume a role of the account, and with it do this."""
    role = role_policies.role(role_arn)
    if role is None:
        return False
    trusted = any(
        _is_for_events(one) for one in _allowing(role.assume_role_policy_document)
    )
    return trusted and any(
        _matches(statement.get("Action", []), action.lower(), str.lower)
        and _matches(statement.get("Resource", []), resource, str)
        for document in role_policies.documents(role)
        for statement in _allowing(document)
    )


def _matches(patterns: Any, value: str, normal: Any) -> bool:
    return any(fnmatchcase(value, normal(pattern)) for pattern in _listed(patterns))

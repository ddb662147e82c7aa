"""Bucket policies with conditions, and versions in the buckets of templates.

Holes in moto 5.2.5: a template's bucket has no versions, whatever its `VersioningConfiguration` says. And
it judges a request to a bucket by each statement of the bucket's policy without
the statement's condition, so that a policy that denies requests without TLS denies all.

Statements with a condition judge nothing here. Those that are found in a bucket's policy are about
TLS, which the local AWS does not speak.
"""

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket


def _permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    if self.policy is None:
        return PermissionResult.NEUTRAL
    statements = json.loads(self.policy)["Statement"]
    statements = statements if isinstance(statements, list) else [statements]
    judging = [it for it in statements if "Condition" not in it]
    policy = IAMPolicy(json.dumps({"Statement": judging}))
    return policy.is_action_permitted(action, resource)


_create = FakeBucket.create_from_cloudformation_json.__func__
_update = FakeBucket.update_from_cloudformation_json.__func__


def _versioned(bucket: FakeBucket, template: dict[str, Any]) -> FakeBucket:
    versioning = template.get("Properties", {}).get("VersioningConfiguration")
    if versioning:
        bucket.versioning_status = versioning["Status"]
    return bucket


def _create_versioned(
    cls: type[FakeBucket], name: str, template: dict[str, Any], *more: Any, **named: Any
) -> FakeBucket:
    return _versioned(_create(cls, name, template, *more, **named), template)


def _update_versioned(
    cls: type[FakeBucket], bucket: Any, name: str, template: dict[str, Any], *more: Any
) -> FakeBucket:
    return _versioned(_update(cls, bucket, name, template, *more), template)


def install() -> None:
    """Puts this judgement in the place of moto's, and gives buckets their versions."""
    FakeBucket.get_permission = _permission
    FakeBucket.create_from_cloudformation_json = classmethod(_create_versioned)
    FakeBucket.update_from_cloudformation_json = classmethod(_update_versioned)

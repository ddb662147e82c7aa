"""Bucket policies with conditions.

Hole in moto 5.2.5: it judges a request to a bucket by each statement of the bucket's policy without
the statement's condition, so that a policy that denies requests without TLS denies all.

Statements with a condition judge nothing here. Those that are found in a bucket's policy are about
TLS, which the local AWS does not speak.
"""

import json

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


def install() -> None:
    """Puts this judgement in the place of moto's."""
    FakeBucket.get_permission = _permission

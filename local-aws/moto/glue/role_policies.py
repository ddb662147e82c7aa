"""The policies of a role, for whoever judges what is done in it.

moto keeps policies and judges nothing by them: calls of functions and state machines are judged in
front of it, by what it tells here.
"""

import json
from typing import Any

from moto.iam.models import IAMBackend, ManagedPolicy, Role, iam_backends

from glue import routes

#: A boundary that is gone allows nothing.
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
NOTHING: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}


def _backend(arn: str) -> IAMBackend:
    return iam_backends[arn.split(":")[4]]["aws"]


def role(arn: str) -> Role | None:
    """The role with this ARN."""
    roles = _backend(arn).roles.values()
    return next((one for one in roles if one.arn == arn), None)


def documents(of: Role) -> list[str]:
    """The documents of its inline policies and of the managed ones that are attached to it."""
    managed = [_default_version(policy) for policy in of.managed_policies.values()]
    return [*of.policies.values(), *managed]


def _default_version(policy: ManagedPolicy) -> str:
    versions = {version.version_id: version.document for version in policy.versions}
    return versions[policy.default_version_id]


def _boundary(of: Role) -> dict[str, Any] | None:
    arn = of.permissions_boundary_arn
    if not arn:
        return None
    policy = _backend(of.arn).managed_policies.get(arn)
    return json.loads(_default_version(policy)) if policy else NOTHING


@routes.route("POST", "/_glue/role")
def told(body: dict[str, str]) -> dict[str, Any]:
    """Policies and permissions boundary of the role `arn`; none where there is no such role."""
    found = role(body["arn"])
    if found is None:
        return {"policies": [], "boundary": None}
    policies = [json.loads(document) for document in documents(found)]
    return {"policies": policies, "boundary": _boundary(found)}

"""`AWS::IAM::*`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_IAM.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing

MISSING = "NoSuchEntity"


def document(value: Any) -> str:
    """A policy as text. YAML reads an unquoted `Version` as a date."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _inline_policies(properties: dict[str, Any]) -> dict[str, str]:
    return {
        policy["PolicyName"]: document(policy["PolicyDocument"])
        for policy in properties.get("Policies", [])
    }


class Role(Resource):
    type_name = "AWS::IAM::Role"
    name_property = "RoleName"
    name_limit = 64
    attribute_names = frozenset({"Arn", "RoleId"})
    replacing = frozenset({"Path", "RoleName"})

    def create(self, name: str) -> None:
        optional = {
            key: value
            for key, value in self.properties.items()
            if key in ("Path", "Description", "PermissionsBoundary")
        }
        role = self.client("iam").create_role(
            RoleName=name,
            AssumeRolePolicyDocument=document(
                self.properties["AssumeRolePolicyDocument"]
            ),
            MaxSessionDuration=int(self.properties.get("MaxSessionDuration", 3600)),
            Tags=self.properties.get("Tags", []),
            **optional,
        )["Role"]
        self.physical_resource_id = role["RoleName"]
        self.attributes = {"Arn": role["Arn"], "RoleId": role["RoleId"]}
        self._set_policies({})

    def update(self, old: dict[str, Any]) -> None:
        client, name = self.client("iam"), self.physical_resource_id
        client.update_assume_role_policy(
            RoleName=name,
            PolicyDocument=document(self.properties["AssumeRolePolicyDocument"]),
        )
        client.update_role_description(
            RoleName=name, Description=self.properties.get("Description", "")
        )
        self._set_policies(old)

    def remove(self) -> None:
        old, self.properties = self.properties, {}
        self._set_policies(old)
        ignoring_missing(
            self.client("iam").delete_role,
            MISSING,
            RoleName=self.physical_resource_id,
        )

    def _set_policies(self, old: dict[str, Any]) -> None:
        client, name = self.client("iam"), self.physical_resource_id
        wanted, had = _inline_policies(self.properties), _inline_policies(old)
        for policy, text in wanted.items():
            client.put_role_policy(
                RoleName=name, PolicyName=policy, PolicyDocument=text
            )
        for policy in had.keys() - wanted.keys():
            ignoring_missing(
                client.delete_role_policy, MISSING, RoleName=name, PolicyName=policy
            )
        attached = set(self.properties.get("ManagedPolicyArns", []))
        detached = set(old.get("ManagedPolicyArns", [])) - attached
        for arn in attached - set(old.get("ManagedPolicyArns", [])):
            client.attach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in detached:
            ignoring_missing(
                client.detach_role_policy, MISSING, RoleName=name, PolicyArn=arn
            )


class RolePolicy(Resource):
    """A policy apart from its role, for what needs the role before it can be named."""

    type_name = "AWS::IAM::RolePolicy"
    replacing = frozenset({"PolicyName", "RoleName"})

    def create(self, name: str) -> None:
        self.physical_resource_id = "|".join(self._identity().values())
        self.update({})

    def update(self, old: dict[str, Any]) -> None:
        self.client("iam").put_role_policy(
            **self._identity(),
            PolicyDocument=document(self.properties["PolicyDocument"]),
        )

    def remove(self) -> None:
        ignoring_missing(
            self.client("iam").delete_role_policy, MISSING, **self._identity()
        )

    def _identity(self) -> dict[str, str]:
        return {key: self.properties[key] for key in ("PolicyName", "RoleName")}


class OidcProvider(Resource):
    type_name = "AWS::IAM::OIDCProvider"
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"Url"})

    def create(self, name: str) -> None:
        created = self.client("iam").create_open_id_connect_provider(
            Url=self.properties["Url"],
            ClientIDList=self.properties.get("ClientIdList", []),
            ThumbprintList=self.properties.get("ThumbprintList", []),
        )
        self.physical_resource_id = created["OpenIDConnectProviderArn"]
        self.attributes["Arn"] = self.physical_resource_id

    def update(self, old: dict[str, Any]) -> None:
        client, arn = self.client("iam"), self.physical_resource_id
        wanted = self.properties.get("ClientIdList", [])
        had = old.get("ClientIdList", [])
        for audience in set(wanted) - set(had):
            client.add_client_id_to_open_id_connect_provider(
                OpenIDConnectProviderArn=arn, ClientID=audience
            )
        for audience in set(had) - set(wanted):
            client.remove_client_id_from_open_id_connect_provider(
                OpenIDConnectProviderArn=arn, ClientID=audience
            )

    def remove(self) -> None:
        ignoring_missing(
            self.client("iam").delete_open_id_connect_provider,
            MISSING,
            OpenIDConnectProviderArn=self.physical_resource_id,
        )

"""`AWS::EC2::SecurityGroup` and its rules.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_EC2.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing

MISSING = (
    "InvalidGroup.NotFound",
    "InvalidPermission.NotFound",
    "InvalidSecurityGroupRuleId.NotFound",
)


def permission(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of a template as an `IpPermission` of the API."""
    description = {"Description": rule["Description"]} if "Description" in rule else {}
    result: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    for port in ("FromPort", "ToPort"):
        if port in rule:
            result[port] = int(rule[port])
    if "CidrIp" in rule:
        result["IpRanges"] = [{"CidrIp": rule["CidrIp"], **description}]
    if "CidrIpv6" in rule:
        result["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **description}]
    group = rule.get("SourceSecurityGroupId") or rule.get("DestinationSecurityGroupId")
    if group:
        result["UserIdGroupPairs"] = [{"GroupId": group, **description}]
    prefix_list = rule.get("SourcePrefixListId") or rule.get("DestinationPrefixListId")
    if prefix_list:
        result["PrefixListIds"] = [{"PrefixListId": prefix_list, **description}]
    return result


class SecurityGroup(Resource):
    type_name = "AWS::EC2::SecurityGroup"
    name_property = "GroupName"
    attribute_names = frozenset({"GroupId", "Id", "VpcId"})
    replacing = frozenset({"GroupDescription", "GroupName", "VpcId"})

    def create(self, name: str) -> None:
        vpc = self.properties.get("VpcId")
        created = self.client("ec2").create_security_group(
            GroupName=name,
            Description=self.properties["GroupDescription"],
            **({"VpcId": vpc} if vpc else {}),
        )
        group = created["GroupId"]
        self.physical_resource_id = group
        self.attributes = {"GroupId": group, "Id": group, "VpcId": vpc}
        tags = self.properties.get("Tags", []) + self.place.tags()
        self.client("ec2").create_tags(Resources=[group], Tags=tags)
        self._authorize()

    def update(self, old: dict[str, Any]) -> None:
        self._revoke(old)
        self._authorize()

    def remove(self) -> None:
        # Groups may name each other in their rules.
        self._revoke(self.properties)
        ignoring_missing(
            self.client("ec2").delete_security_group,
            *MISSING,
            GroupId=self.physical_resource_id,
        )

    def _authorize(self) -> None:
        client, group = self.client("ec2"), self.physical_resource_id
        ingress = self.properties.get("SecurityGroupIngress", [])
        if ingress:
            client.authorize_security_group_ingress(
                GroupId=group, IpPermissions=[permission(rule) for rule in ingress]
            )
        egress = self.properties.get("SecurityGroupEgress", [])
        if egress:
            # Rules of its own take the place of the one that lets everything out.
            everywhere = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
            ignoring_missing(
                client.revoke_security_group_egress,
                *MISSING,
                GroupId=group,
                IpPermissions=[permission(everywhere)],
            )
            client.authorize_security_group_egress(
                GroupId=group, IpPermissions=[permission(rule) for rule in egress]
            )

    def _revoke(self, properties: dict[str, Any]) -> None:
        client, group = self.client("ec2"), self.physical_resource_id
        for rule in properties.get("SecurityGroupIngress", []):
            ignoring_missing(
                client.revoke_security_group_ingress,
                *MISSING,
                GroupId=group,
                IpPermissions=[permission(rule)],
            )
        for rule in properties.get("SecurityGroupEgress", []):
            ignoring_missing(
                client.revoke_security_group_egress,
                *MISSING,
                GroupId=group,
                IpPermissions=[permission(rule)],
            )


class _Rule(Resource):
    """A rule apart from its group; every change makes a new one."""

    attribute_names = frozenset({"Id"})
    direction = ""

    def create(self, name: str) -> None:
        authorize = getattr(
            self.client("ec2"), f"authorize_security_group_{self.direction}"
        )
        answer = authorize(
            GroupId=self.properties["GroupId"],
            IpPermissions=[permission(self.properties)],
        )
        rules = answer.get("SecurityGroupRules") or [{"SecurityGroupRuleId": name}]
        self.physical_resource_id = rules[0]["SecurityGroupRuleId"]
        self.attributes["Id"] = self.physical_resource_id

    def remove(self) -> None:
        ignoring_missing(
            getattr(self.client("ec2"), f"revoke_security_group_{self.direction}"),
            *MISSING,
            GroupId=self.properties["GroupId"],
            IpPermissions=[permission(self.properties)],
        )


class SecurityGroupIngress(_Rule):
    type_name = "AWS::EC2::SecurityGroupIngress"
    direction = "ingress"


class SecurityGroupEgress(_Rule):
    type_name = "AWS::EC2::SecurityGroupEgress"
    direction = "egress"

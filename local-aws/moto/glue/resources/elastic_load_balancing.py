"""`AWS::ElasticLoadBalancingV2::*`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ElasticLoadBalancingV2.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters, text


def _attributes(given: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"Key": it["Key"], "Value": text(it["Value"])} for it in given]


class LoadBalancer(Resource):
    type_name = "AWS::ElasticLoadBalancingV2::LoadBalancer"
    name_property = "Name"
    name_limit = 32
    attribute_names = frozenset(
        {
            "CanonicalHostedZoneID",
            "DNSName",
            "LoadBalancerArn",
            "LoadBalancerFullName",
            "LoadBalancerName",
            "SecurityGroups",
        }
    )
    replacing = frozenset({"Name", "Scheme", "Type"})

    def create(self, name: str) -> None:
        request = parameters("elbv2", "CreateLoadBalancer", self.properties)
        request.update(Name=name, Tags=request.get("Tags", []) + self.place.tags())
        created = self.client("elbv2").create_load_balancer(**request)
        balancer = created["LoadBalancers"][0]
        arn = balancer["LoadBalancerArn"]
        self.physical_resource_id = arn
        self.attributes = {
            "CanonicalHostedZoneID": balancer.get("CanonicalHostedZoneId", ""),
            "DNSName": balancer["DNSName"],
            "LoadBalancerArn": arn,
            "LoadBalancerFullName": arn.split(":loadbalancer/")[1],
            "LoadBalancerName": balancer["LoadBalancerName"],
            "SecurityGroups": balancer.get("SecurityGroups", []),
        }
        self._modify_attributes()

    def update(self, old: dict[str, Any]) -> None:
        client, arn = self.client("elbv2"), self.physical_resource_id
        if self.properties.get("Subnets") != old.get("Subnets"):
            client.set_subnets(LoadBalancerArn=arn, Subnets=self.properties["Subnets"])
        groups = self.properties.get("SecurityGroups", [])
        if groups != old.get("SecurityGroups", []):
            client.set_security_groups(LoadBalancerArn=arn, SecurityGroups=groups)
            self.attributes["SecurityGroups"] = groups
        self._modify_attributes()

    def remove(self) -> None:
        self.client("elbv2").delete_load_balancer(
            LoadBalancerArn=self.physical_resource_id
        )

    def _modify_attributes(self) -> None:
        attributes = self.properties.get("LoadBalancerAttributes")
        if attributes:
            self.client("elbv2").modify_load_balancer_attributes(
                LoadBalancerArn=self.physical_resource_id,
                Attributes=_attributes(attributes),
            )


class TargetGroup(Resource):
    type_name = "AWS::ElasticLoadBalancingV2::TargetGroup"
    name_property = "Name"
    name_limit = 32
    attribute_names = frozenset(
        {"LoadBalancerArns", "TargetGroupArn", "TargetGroupFullName", "TargetGroupName"}
    )
    replacing = frozenset(
        {"IpAddressType", "Name", "Port", "Protocol", "TargetType", "VpcId"}
    )

    def create(self, name: str) -> None:
        request = parameters("elbv2", "CreateTargetGroup", self.properties)
        request.update(Name=name, Tags=request.get("Tags", []) + self.place.tags())
        created = self.client("elbv2").create_target_group(**request)["TargetGroups"][0]
        arn = created["TargetGroupArn"]
        self.physical_resource_id = arn
        self.attributes = {
            "TargetGroupArn": arn,
            "TargetGroupFullName": arn.split(":")[-1],
            "TargetGroupName": created["TargetGroupName"],
        }
        self._modify_attributes()

    def update(self, old: dict[str, Any]) -> None:
        request = parameters("elbv2", "ModifyTargetGroup", self.properties)
        request["TargetGroupArn"] = self.physical_resource_id
        self.client("elbv2").modify_target_group(**request)
        self._modify_attributes()

    def remove(self) -> None:
        self.client("elbv2").delete_target_group(
            TargetGroupArn=self.physical_resource_id
        )

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        # The listener that makes the connection is usually made later.
        if attribute_name == "LoadBalancerArns":
            described = self.client("elbv2").describe_target_groups(
                TargetGroupArns=[self.physical_resource_id]
            )
            return described["TargetGroups"][0]["LoadBalancerArns"]
        return super().get_cfn_attribute(attribute_name)

    def _modify_attributes(self) -> None:
        attributes = self.properties.get("TargetGroupAttributes")
        if attributes:
            self.client("elbv2").modify_target_group_attributes(
                TargetGroupArn=self.physical_resource_id,
                Attributes=_attributes(attributes),
            )


class Listener(Resource):
    type_name = "AWS::ElasticLoadBalancingV2::Listener"
    attribute_names = frozenset({"ListenerArn"})
    replacing = frozenset({"LoadBalancerArn"})

    def create(self, name: str) -> None:
        request = parameters("elbv2", "CreateListener", self.properties)
        created = self.client("elbv2").create_listener(**request)["Listeners"][0]
        self.physical_resource_id = created["ListenerArn"]
        self.attributes["ListenerArn"] = created["ListenerArn"]

    def update(self, old: dict[str, Any]) -> None:
        request = parameters("elbv2", "ModifyListener", self.properties)
        request["ListenerArn"] = self.physical_resource_id
        self.client("elbv2").modify_listener(**request)

    def remove(self) -> None:
        ignoring_missing(
            self.client("elbv2").delete_listener,
            "ListenerNotFound",
            ListenerArn=self.physical_resource_id,
        )


class ListenerRule(Resource):
    type_name = "AWS::ElasticLoadBalancingV2::ListenerRule"
    attribute_names = frozenset({"IsDefault", "RuleArn"})
    replacing = frozenset({"ListenerArn"})

    def create(self, name: str) -> None:
        request = parameters("elbv2", "CreateRule", self.properties)
        created = self.client("elbv2").create_rule(**request)["Rules"][0]
        self.physical_resource_id = created["RuleArn"]
        self.attributes = {"IsDefault": False, "RuleArn": created["RuleArn"]}

    def update(self, old: dict[str, Any]) -> None:
        client = self.client("elbv2")
        request = parameters("elbv2", "ModifyRule", self.properties)
        client.modify_rule(**{**request, "RuleArn": self.physical_resource_id})
        if self.properties["Priority"] != old["Priority"]:
            priority = int(self.properties["Priority"])
            client.set_rule_priorities(
                RulePriorities=[
                    {"RuleArn": self.physical_resource_id, "Priority": priority}
                ]
            )

    def remove(self) -> None:
        ignoring_missing(
            self.client("elbv2").delete_rule,
            "RuleNotFound",
            RuleArn=self.physical_resource_id,
        )

"""`AWS::ApplicationAutoScaling::*`. Nothing follows a load here: the numbers are kept.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ApplicationAutoScaling.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters

SERVICE = "application-autoscaling"


class ScalableTarget(Resource):
    type_name = "AWS::ApplicationAutoScaling::ScalableTarget"
    attribute_names = frozenset({"Id"})
    replacing = frozenset({"ResourceId", "ScalableDimension", "ServiceNamespace"})

    def create(self, name: str) -> None:
        self.update({})
        self.physical_resource_id = "|".join(
            self.properties[key]
            for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")
        )
        self.attributes["Id"] = self.physical_resource_id

    def update(self, old: dict[str, Any]) -> None:
        request = parameters(SERVICE, "RegisterScalableTarget", self.properties)
        self.client(SERVICE).register_scalable_target(**request)

    def remove(self) -> None:
        request = parameters(SERVICE, "DeregisterScalableTarget", self.properties)
        ignoring_missing(
            self.client(SERVICE).deregister_scalable_target,
            "ObjectNotFoundException",
            **request,
        )


class ScalingPolicy(Resource):
    type_name = "AWS::ApplicationAutoScaling::ScalingPolicy"
    name_property = "PolicyName"
    attribute_names = frozenset({"Arn"})
    replacing = frozenset(
        {"PolicyName", "ResourceId", "ScalableDimension", "ScalingTargetId"}
    )

    def create(self, name: str) -> None:
        self.properties.setdefault("PolicyName", name)
        self._put()

    def update(self, old: dict[str, Any]) -> None:
        self.properties.setdefault("PolicyName", old["PolicyName"])
        self._put()

    def remove(self) -> None:
        request = parameters(SERVICE, "DeleteScalingPolicy", self._complete())
        ignoring_missing(
            self.client(SERVICE).delete_scaling_policy,
            "ObjectNotFoundException",
            **request,
        )

    def _put(self) -> None:
        request = parameters(SERVICE, "PutScalingPolicy", self._complete())
        made = self.client(SERVICE).put_scaling_policy(**request)
        self.physical_resource_id = made["PolicyARN"]
        self.attributes["Arn"] = made["PolicyARN"]

    def _complete(self) -> dict[str, Any]:
        """The properties, with those that the target's id stands for."""
        properties = dict(self.properties)
        target = properties.pop("ScalingTargetId", None)
        if target:
            keys = ("ResourceId", "ScalableDimension", "ServiceNamespace")
            properties.update(zip(keys, target.split("|"), strict=True))
        return properties

"""`AWS::Events::Rule`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-rule.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


class Rule(Resource):
    type_name = "AWS::Events::Rule"
    name_property = "Name"
    name_limit = 64
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"EventBusName", "Name"})

    def create(self, name: str) -> None:
        self.physical_resource_id = name
        self._put({})

    def update(self, old: dict[str, Any]) -> None:
        self._put(old)

    def remove(self) -> None:
        self._remove_targets(self.properties)
        ignoring_missing(
            self.client("events").delete_rule,
            "ResourceNotFoundException",
            Name=self.physical_resource_id,
            **self._bus(),
        )

    def _bus(self) -> dict[str, str]:
        bus = self.properties.get("EventBusName")
        return {"EventBusName": bus} if bus else {}

    def _put(self, old: dict[str, Any]) -> None:
        client, name = self.client("events"), self.physical_resource_id
        request = parameters("events", "PutRule", self.without("EventPattern"))
        if "EventPattern" in self.properties:
            request["EventPattern"] = json.dumps(self.properties["EventPattern"])
        self.attributes["Arn"] = client.put_rule(**{**request, "Name": name})["RuleArn"]
        self._remove_targets(old)
        targets = parameters("events", "PutTargets", self.properties).get("Targets")
        if targets:
            client.put_targets(Rule=name, Targets=targets, **self._bus())

    def _remove_targets(self, properties: dict[str, Any]) -> None:
        ids = [target["Id"] for target in properties.get("Targets", [])]
        if ids:
            self.client("events").remove_targets(
                Rule=self.physical_resource_id, Ids=ids, **self._bus()
            )

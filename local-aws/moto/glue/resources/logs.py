"""`AWS::Logs::LogGroup`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-loggroup.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing


class LogGroup(Resource):
    type_name = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    name_limit = 512
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"LogGroupName"})

    def create(self, name: str) -> None:
        self.client("logs").create_log_group(logGroupName=name)
        self.physical_resource_id = name
        place = self.place
        # With the wildcard at its end, as CloudFormation gives it.
        self.attributes["Arn"] = (
            f"arn:aws:logs:{place.region}:{place.account_id}:log-group:{name}:*"
        )
        self._set_retention()

    def update(self, old: dict[str, Any]) -> None:
        self._set_retention()

    def remove(self) -> None:
        ignoring_missing(
            self.client("logs").delete_log_group,
            "ResourceNotFoundException",
            logGroupName=self.physical_resource_id,
        )

    def _set_retention(self) -> None:
        client, name = self.client("logs"), self.physical_resource_id
        days = self.properties.get("RetentionInDays")
        if days:
            client.put_retention_policy(logGroupName=name, retentionInDays=int(days))
        else:
            client.delete_retention_policy(logGroupName=name)

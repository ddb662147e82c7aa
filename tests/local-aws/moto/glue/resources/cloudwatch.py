"""`AWS::CloudWatch::Alarm`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html
"""

from typing import Any

from glue.resources.base import Resource, parameters


class Alarm(Resource):
    type_name = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"AlarmName"})

    def create(self, name: str) -> None:
        self.physical_resource_id = name
        place = self.place
        self.attributes["Arn"] = (
            f"arn:aws:cloudwatch:{place.region}:{place.account_id}:alarm:{name}"
        )
        self._put()

    def update(self, old: dict[str, Any]) -> None:
        self._put()

    def remove(self) -> None:
        self.client("cloudwatch").delete_alarms(AlarmNames=[self.physical_resource_id])

    def _put(self) -> None:
        request = parameters("cloudwatch", "PutMetricAlarm", self.properties)
        request["AlarmName"] = self.physical_resource_id
        self.client("cloudwatch").put_metric_alarm(**request)

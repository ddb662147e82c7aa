"""`AWS::CloudWatch::Alarm` and `AWS::CloudWatch::CompositeAlarm`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_CloudWatch.html
"""

from typing import Any, ClassVar

from botocore import xform_name

from glue.resources.base import Resource, parameters


class _AnyAlarm(Resource):
    #: The operation that makes and changes it.
    put_operation: ClassVar[str]
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
        request = parameters("cloudwatch", self.put_operation, self.properties)
        request["AlarmName"] = self.physical_resource_id
        client = self.client("cloudwatch")
        getattr(client, xform_name(self.put_operation))(**request)


class Alarm(_AnyAlarm):
    type_name = "AWS::CloudWatch::Alarm"
    put_operation = "PutMetricAlarm"


class CompositeAlarm(_AnyAlarm):
    type_name = "AWS::CloudWatch::CompositeAlarm"
    put_operation = "PutCompositeAlarm"

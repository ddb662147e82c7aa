"""`AWS::SQS::*`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SQS.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing, text
from glue.resources.iam import document


class Queue(Resource):
    type_name = "AWS::SQS::Queue"
    name_property = "QueueName"
    name_limit = 80
    attribute_names = frozenset({"Arn", "QueueName", "QueueUrl"})
    replacing = frozenset({"FifoQueue", "QueueName"})

    def create(self, name: str) -> None:
        client = self.client("sqs")
        created = client.create_queue(QueueName=name, Attributes=self._attributes())
        url = created["QueueUrl"]
        described = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["QueueArn"]
        )
        self.physical_resource_id = url
        self.attributes = {
            "Arn": described["Attributes"]["QueueArn"],
            "QueueName": name,
            "QueueUrl": url,
        }

    def update(self, old: dict[str, Any]) -> None:
        self.client("sqs").set_queue_attributes(
            QueueUrl=self.physical_resource_id, Attributes=self._attributes()
        )

    def remove(self) -> None:
        ignoring_missing(
            self.client("sqs").delete_queue,
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
            QueueUrl=self.physical_resource_id,
        )

    def _attributes(self) -> dict[str, str]:
        """Attributes are text; policies among them are JSON."""
        return {
            name: json.dumps(value) if isinstance(value, dict) else text(value)
            for name, value in self.without("QueueName", "Tags").items()
        }


class QueuePolicy(Resource):
    type_name = "AWS::SQS::QueuePolicy"
    attribute_names = frozenset({"Id"})

    def create(self, name: str) -> None:
        self.physical_resource_id = name
        self.attributes["Id"] = name
        self._set(document(self.properties["PolicyDocument"]))

    def update(self, old: dict[str, Any]) -> None:
        self._set(document(self.properties["PolicyDocument"]))

    def remove(self) -> None:
        self._set("")

    def _set(self, policy: str) -> None:
        for queue in self.properties["Queues"]:
            ignoring_missing(
                self.client("sqs").set_queue_attributes,
                "AWS.SimpleQueueService.NonExistentQueue",
                "QueueDoesNotExist",
                QueueUrl=queue,
                Attributes={"Policy": policy},
            )

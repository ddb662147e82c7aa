"""`AWS::S3::BucketPolicy`. The bucket itself is moto's own.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucketpolicy.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing
from glue.resources.iam import document


class BucketPolicy(Resource):
    type_name = "AWS::S3::BucketPolicy"
    replacing = frozenset({"Bucket"})

    def create(self, name: str) -> None:
        self.physical_resource_id = self.properties["Bucket"]
        self._set()

    def update(self, old: dict[str, Any]) -> None:
        self._set()

    def remove(self) -> None:
        ignoring_missing(
            self.client("s3").delete_bucket_policy,
            "NoSuchBucket",
            Bucket=self.physical_resource_id,
        )

    def _set(self) -> None:
        self.client("s3").put_bucket_policy(
            Bucket=self.physical_resource_id,
            Policy=document(self.properties["PolicyDocument"]),
        )

"""`AWS::CDK::Metadata`: which libraries a template comes from. CloudFormation makes nothing of it.

https://docs.aws.amazon.com/cdk/v2/guide/usage-data.html
"""

import uuid
from typing import Any

from glue.resources.base import Resource


class Metadata(Resource):
    type_name = "AWS::CDK::Metadata"

    def create(self, name: str) -> None:
        self.physical_resource_id = str(uuid.uuid4())

    def update(self, old: dict[str, Any]) -> None:
        """Nobody reads it."""

    def remove(self) -> None:
        """Nothing was made."""

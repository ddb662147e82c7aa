"""`AWS::SSM::Parameter`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


class Parameter(Resource):
    type_name = "AWS::SSM::Parameter"
    name_property = "Name"
    attribute_names = frozenset({"Type", "Value"})
    replacing = frozenset({"Name"})

    def create(self, name: str) -> None:
        self.physical_resource_id = name
        self._put(overwrite=False)

    def update(self, old: dict[str, Any]) -> None:
        self._put(overwrite=True)

    def remove(self) -> None:
        ignoring_missing(
            self.client("ssm").delete_parameter,
            "ParameterNotFound",
            Name=self.physical_resource_id,
        )

    def _put(self, overwrite: bool) -> None:
        request = parameters("ssm", "PutParameter", self.without("Tags"))
        request.update(Name=self.physical_resource_id, Overwrite=overwrite)
        self.client("ssm").put_parameter(**request)
        for name in self.attribute_names:
            self.attributes[name] = self.properties[name]

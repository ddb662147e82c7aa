"""`AWS::Lambda::*`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_Lambda.html
"""

import io
import zipfile
from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


def _code(code: dict[str, Any]) -> dict[str, Any]:
    """`ZipFile` in a template is a source text; Lambda zips it as `index.py`."""
    if "ZipFile" not in code:
        return code
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.py", code["ZipFile"])
    return {"ZipFile": buffer.getvalue()}


class Function(Resource):
    type_name = "AWS::Lambda::Function"
    name_property = "FunctionName"
    name_limit = 64
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"FunctionName", "PackageType"})

    def create(self, name: str) -> None:
        request = parameters("lambda", "CreateFunction", self.without("Code", "Tags"))
        request.update(FunctionName=name, Code=_code(self.properties["Code"]))
        tags = self.properties.get("Tags", []) + self.place.tags()
        request["Tags"] = {tag["Key"]: tag["Value"] for tag in tags}
        created = self.client("lambda").create_function(**request)
        self.physical_resource_id = created["FunctionName"]
        self.attributes["Arn"] = created["FunctionArn"]

    def update(self, old: dict[str, Any]) -> None:
        client, name = self.client("lambda"), self.physical_resource_id
        request = parameters("lambda", "UpdateFunctionConfiguration", self.properties)
        request.setdefault("Environment", {"Variables": {}})
        client.update_function_configuration(**{**request, "FunctionName": name})
        code = dict(_code(self.properties["Code"]), FunctionName=name)
        architectures = self.properties.get("Architectures", ["x86_64"])
        client.update_function_code(**code, Architectures=architectures)

    def remove(self) -> None:
        ignoring_missing(
            self.client("lambda").delete_function,
            "ResourceNotFoundException",
            FunctionName=self.physical_resource_id,
        )


class Permission(Resource):
    """Any change makes a new statement and removes the old one."""

    type_name = "AWS::Lambda::Permission"

    def create(self, name: str) -> None:
        request = parameters("lambda", "AddPermission", self.properties)
        self.client("lambda").add_permission(**{**request, "StatementId": name})
        self.physical_resource_id = name

    def remove(self) -> None:
        ignoring_missing(
            self.client("lambda").remove_permission,
            "ResourceNotFoundException",
            FunctionName=self.properties["FunctionName"],
            StatementId=self.physical_resource_id,
        )


class EventInvokeConfig(Resource):
    type_name = "AWS::Lambda::EventInvokeConfig"
    replacing = frozenset({"FunctionName", "Qualifier"})

    def create(self, name: str) -> None:
        self._put()
        function, qualifier = self._key()
        self.physical_resource_id = f"{function}|{qualifier}"

    def update(self, old: dict[str, Any]) -> None:
        self._put()

    def remove(self) -> None:
        ignoring_missing(
            self.client("lambda").delete_function_event_invoke_config,
            "ResourceNotFoundException",
            FunctionName=self._key()[0],
        )

    def _key(self) -> tuple[str, str]:
        return self.properties["FunctionName"], self.properties["Qualifier"]

    def _put(self) -> None:
        # moto keeps one configuration a function, whatever the qualifier.
        request = parameters(
            "lambda", "PutFunctionEventInvokeConfig", self.without("Qualifier")
        )
        self.client("lambda").put_function_event_invoke_config(**request)

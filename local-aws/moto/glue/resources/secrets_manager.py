"""`AWS::SecretsManager::Secret`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


class Secret(Resource):
    type_name = "AWS::SecretsManager::Secret"
    name_property = "Name"
    attribute_names = frozenset({"Id"})
    replacing = frozenset({"Name"})

    def create(self, name: str) -> None:
        client = self.client("secretsmanager")
        tags = self.properties.get("Tags", []) + self.place.tags()
        created = client.create_secret(
            Name=name, Tags=tags, SecretString=self._value(), **self._description()
        )
        self.physical_resource_id = created["ARN"]
        self.attributes["Id"] = created["ARN"]

    def update(self, old: dict[str, Any]) -> None:
        client = self.client("secretsmanager")
        request = {"SecretId": self.physical_resource_id, **self._description()}
        if "SecretString" in self.properties:
            request["SecretString"] = self.properties["SecretString"]
        client.update_secret(**request)

    def remove(self) -> None:
        ignoring_missing(
            self.client("secretsmanager").delete_secret,
            "ResourceNotFoundException",
            SecretId=self.physical_resource_id,
            ForceDeleteWithoutRecovery=True,
        )

    def _description(self) -> dict[str, str]:
        description = self.properties.get("Description")
        return {"Description": description} if description else {}

    def _value(self) -> str:
        if "SecretString" in self.properties:
            return str(self.properties["SecretString"])
        generate = self.properties.get("GenerateSecretString", {})
        request = parameters("secretsmanager", "GetRandomPassword", generate)
        password = self.client("secretsmanager").get_random_password(**request)
        key = generate.get("GenerateStringKey")
        if not key:
            return password["RandomPassword"]
        template = json.loads(generate.get("SecretStringTemplate", "{}"))
        return json.dumps({**template, key: password["RandomPassword"]})

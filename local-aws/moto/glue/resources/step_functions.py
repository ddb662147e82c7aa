"""`AWS::StepFunctions::StateMachine`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-stepfunctions-statemachine.html
"""

import json
from typing import Any

from glue.resources.base import Resource, parameters, text


class StateMachine(Resource):
    type_name = "AWS::StepFunctions::StateMachine"
    name_property = "StateMachineName"
    name_limit = 80
    attribute_names = frozenset({"Arn", "Name"})
    replacing = frozenset({"StateMachineName", "StateMachineType"})

    def create(self, name: str) -> None:
        request = parameters("stepfunctions", "CreateStateMachine", self.properties)
        request.update(
            name=name,
            definition=self._definition(),
            type=self.properties.get("StateMachineType", "STANDARD"),
            tags=self.place.tags("key", "value"),
        )
        answer = self.client("stepfunctions").create_state_machine(**request)
        self.physical_resource_id = answer["stateMachineArn"]
        self.attributes = {"Arn": answer["stateMachineArn"], "Name": name}

    def update(self, old: dict[str, Any]) -> None:
        request = parameters("stepfunctions", "UpdateStateMachine", self.properties)
        request.update(
            stateMachineArn=self.physical_resource_id, definition=self._definition()
        )
        self.client("stepfunctions").update_state_machine(**request)

    def remove(self) -> None:
        self.client("stepfunctions").delete_state_machine(
            stateMachineArn=self.physical_resource_id
        )

    def _definition(self) -> str:
        """The definition, from wherever the template keeps it."""
        location = self.properties.get("DefinitionS3Location")
        if location:
            version = location.get("Version")
            stored = self.client("s3").get_object(
                Bucket=location["Bucket"],
                Key=location["Key"],
                **({"VersionId": version} if version else {}),
            )
            definition = stored["Body"].read().decode()
        elif "Definition" in self.properties:
            definition = json.dumps(self.properties["Definition"])
        else:
            definition = self.properties["DefinitionString"]
        for name, value in self.properties.get("DefinitionSubstitutions", {}).items():
            # As it stands inside a JSON string; a number may stand outside of one, too.
            inside = json.dumps(text(value))[1:-1]
            definition = definition.replace("${%s}" % name, inside)
        return definition

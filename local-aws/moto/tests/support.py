"""moto with the glue, served for the tests of a module."""

import json
import os
import threading
import time
import unittest
import uuid
from typing import Any

from moto.core.config import default_user_config
from werkzeug.serving import make_server

import glue
from glue import gateway, routes
from glue.server import QuietRequestHandler

ROLE = "arn:aws:iam::123456789012:role/test"


def serve() -> None:
    """Starts the server once for all tests; it is its own gateway."""
    if "MOTO_PORT" in os.environ:
        return
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    glue.install()
    server = make_server(
        "127.0.0.1",
        0,
        routes.application(),
        threaded=True,
        request_handler=QuietRequestHandler,
    )
    os.environ["MOTO_PORT"] = str(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway.client("iam").create_role(
        RoleName=ROLE.split("/")[1], AssumeRolePolicyDocument="{}"
    )


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def wait_for(condition: Any, seconds: float = 10.0) -> Any:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def _policy(statement: dict[str, Any]) -> str:
    statements = [{"Effect": "Allow", **statement}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


class GlueTest(unittest.TestCase):
    """A test against a served moto."""

    @classmethod
    def setUpClass(cls) -> None:
        serve()

    def client(self, service: str) -> Any:
        return gateway.client(service)

    # Step Functions.

    def begin(self, states: dict[str, Any], data: Any = None) -> str:
        """Starts an execution of a JSONata machine."""
        client = self.client("stepfunctions")
        machine = client.create_state_machine(
            name=unique("machine"),
            roleArn=ROLE,
            definition=json.dumps(
                {
                    "QueryLanguage": "JSONata",
                    "StartAt": next(iter(states)),
                    "States": states,
                }
            ),
        )["stateMachineArn"]
        started = client.start_execution(stateMachineArn=machine, input=json.dumps(data or {}))
        return started["executionArn"]

    def ended(self, execution: str) -> dict[str, Any]:
        """What an execution is when it is over."""
        client = self.client("stepfunctions")

        def described() -> dict[str, Any] | None:
            answer = client.describe_execution(executionArn=execution)
            return answer if answer["status"] != "RUNNING" else None

        return wait_for(described)

    def execute(self, states: dict[str, Any], data: Any = None) -> dict[str, Any]:
        """Runs a JSONata machine to its end."""
        return self.ended(self.begin(states, data))

    # CloudFormation.

    def deploy(
        self, name: str, template: dict[str, Any], **parameters: str
    ) -> dict[str, Any]:
        """Deploys as `aws cloudformation deploy` does, and describes the stack."""
        client = self.client("cloudformation")
        update = name in self.stack_names()
        change_set = client.create_change_set(
            StackName=name,
            ChangeSetName=unique("change"),
            ChangeSetType="UPDATE" if update else "CREATE",
            TemplateBody=json.dumps(template),
            Parameters=[
                (
                    {"ParameterKey": key, "ParameterValue": parameters[key]}
                    if key in parameters
                    else {"ParameterKey": key, "UsePreviousValue": True}
                )
                for key in template.get("Parameters", {})
                if key in parameters or update
            ],
        )
        client.execute_change_set(ChangeSetName=change_set["Id"])
        return self.settled(name)

    def stack_names(self) -> list[str]:
        """The stacks that there are."""
        pages = self.client("cloudformation").get_paginator("describe_stacks")
        return [it["StackName"] for page in pages.paginate() for it in page["Stacks"]]

    def settled(self, name: str) -> dict[str, Any]:
        """The stack once no operation runs on it."""
        client = self.client("cloudformation")

        def described() -> dict[str, Any] | None:
            stack = client.describe_stacks(StackName=name)["Stacks"][0]
            busy = stack["StackStatus"].endswith("_IN_PROGRESS")
            return None if busy else stack

        return wait_for(described)

    def outputs(self, stack: dict[str, Any]) -> dict[str, str]:
        return {
            output["OutputKey"]: output["OutputValue"]
            for output in stack.get("Outputs", [])
        }

    def delete(self, name: str) -> None:
        self.client("cloudformation").delete_stack(StackName=name)

    # IAM.

    def role(
        self, action: str, resource: str, service: str = "events.amazonaws.com"
    ) -> str:
        """The ARN of a role with which a service may do one thing."""
        client, name = self.client("iam"), unique("role")
        trust = {"Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn = client.create_role(
            RoleName=name, AssumeRolePolicyDocument=_policy(trust)
        )["Role"]["Arn"]
        permission = {"Action": [action], "Resource": resource}
        client.put_role_policy(
            RoleName=name, PolicyName="p", PolicyDocument=_policy(permission)
        )
        return arn

    # SQS.

    def queue(
        self, name: str, open_to_events: bool = True, **attributes: str
    ) -> tuple[str, str]:
        """A queue's URL and ARN."""
        arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
        policy = {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                }
            ]
        }
        if open_to_events:
            attributes["Policy"] = json.dumps(policy)
        created = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)
        return created["QueueUrl"], arn

    def received(self, url: str) -> list[dict[str, Any]]:
        """The messages of a queue, waited for a while."""

        def messages() -> list[dict[str, Any]]:
            answer = self.client("sqs").receive_message(
                QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10
            )
            return answer.get("Messages", [])

        return wait_for(messages)

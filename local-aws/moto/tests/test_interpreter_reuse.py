"""What moto's interpreter makes once: definitions that are parsed, clients of services."""

import json
from typing import Any

from moto.stepfunctions.parser.asl.antlr.runtime.ASLParser import ASLParser
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import (
    StateCredentials,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from tests.support import ROLE, GlueTest

DEFINITION = json.dumps({"StartAt": "Once", "States": {"Once": {"Type": "Succeed"}}})


class Reuse(GlueTest):
    def test_a_definition_is_parsed_once_and_every_execution_has_its_own_program(self) -> None:
        parsed = 0
        read = ASLParser.state_machine

        def count(parser: ASLParser) -> object:
            nonlocal parsed
            parsed += 1
            return read(parser)

        ASLParser.state_machine = count
        self.addCleanup(setattr, ASLParser, "state_machine", read)
        programs = [AmazonStateLanguageParser.parse(DEFINITION)[0] for _ in range(3)]
        self.assertEqual(parsed, 1)
        self.assertEqual(len({id(program) for program in programs}), 3)

    def test_a_client_is_made_once_for_a_service_and_a_region(self) -> None:
        first = boto_client_for("eu-west-1", "dynamodb")
        self.assertIs(boto_client_for("eu-west-1", "dynamodb"), first)
        other = boto_client_for("eu-central-1", "dynamodb")
        self.assertEqual(other.meta.region_name, "eu-central-1")
        self.assertNotEqual(boto_client_for("eu-west-1", "sqs").meta.service_model, first)

    def test_a_request_of_a_task_says_in_which_role_it_is_made(self) -> None:
        roles: list[bytes | None] = []

        def keep(request: Any, **_others: Any) -> None:
            roles.append(request.headers.get("x-local-aws-role"))

        # Those who had loaded it before it was replaced call the replacement, too.
        for credentials in (StateCredentials(ROLE), None):
            client = lambda_eval_utils.boto_client_for("us-west-2", "sqs", credentials)
            self.assertIs(boto_client_for("us-west-2", "sqs", credentials), client)
            client.meta.events.register("before-send", keep)
            client.list_queues()
        self.assertEqual(roles, [ROLE.encode(), None])

    def test_a_path_is_read_once(self) -> None:
        self.assertIs(result_path.parse("$.a"), result_path.parse("$.a"))

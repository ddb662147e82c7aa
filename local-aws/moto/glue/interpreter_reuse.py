"""Step Functions: what is always the same is made once.

Hole in moto 5.2.5: its interpreter parses the definition anew for every execution, half a second of
work for one of 90 states, makes a boto3 client for every task, and builds a parser of JSONPath for
every task's result. All of that holds up whatever else moto does in its one process. Its clients do
not say in which role a task calls.
"""

import copy
import sys
from functools import cache, lru_cache, partial
from typing import Any

from antlr4 import ParserRuleContext
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import (
    StateCredentials,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client

DEFINITIONS = 16
PATHS = 256

#: Whoever judges what a state machine calls reads it.
ROLE_HEADER = "x-local-aws-role"


def _parse_once() -> None:
    parse = AmazonStateLanguageParser.parse

    parsed = lru_cache(maxsize=DEFINITIONS)(parse)

    def parse_once(definition: str) -> tuple[EvalComponent, ParserRuleContext]:
        program, tree = parsed(definition)
        # An execution changes its program, but not the tree.
        return copy.deepcopy(program), tree

    AmazonStateLanguageParser.parse = staticmethod(parse_once)


def _make_clients_once() -> None:
    make = boto_client.boto_client_for

    @cache
    def client_of(region: str, service: str, role: str | None) -> Any:
        client = make(region, service)
        if role is not None:
            client.meta.events.register("before-sign", partial(_name_role, role))
        return client

    def client_for(
        region: str, service: str, state_credentials: StateCredentials | None = None
    ) -> Any:
        role = state_credentials.role_arn if state_credentials else None
        return client_of(region, service, role)

    # What has been loaded has a name of its own for it.
    for module in list(sys.modules.values()):
        if vars(module).get(make.__name__) is make:
            setattr(module, make.__name__, client_for)


def _name_role(role: str, request: Any, **_others: Any) -> None:
    """A request's header says for which role it is: its key is the same for every state machine."""
    request.headers[ROLE_HEADER] = role


def _read_paths_once() -> None:
    result_path.parse = lru_cache(maxsize=PATHS)(result_path.parse)


def install() -> None:
    _parse_once()
    _read_paths_once()
    _make_clients_once()

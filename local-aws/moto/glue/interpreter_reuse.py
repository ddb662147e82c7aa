"""Step Functions: what is always the same is made once.

Hole in moto 5.2.5: its interpreter parses the definition anew for every execution, half a second of
work for one of 90 states, makes a boto3 client for every task, and builds a parser of JSONPath for
every task's result. All of that holds up whatever else moto does in its one process.
"""

import copy
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any

import boto3
from antlr4 import ParserRuleContext
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client

DEFINITIONS = 16
PATHS = 256


def _parse_once() -> None:
    parse = AmazonStateLanguageParser.parse

    parsed = lru_cache(maxsize=DEFINITIONS)(parse)

    def parse_once(definition: str) -> tuple[EvalComponent, ParserRuleContext]:
        program, tree = parsed(definition)
        # An execution changes its program, but not the tree.
        return copy.deepcopy(program), tree

    AmazonStateLanguageParser.parse = staticmethod(parse_once)


def _make_clients_once() -> None:
    settings: dict[str, Any] = {}

    @cache
    def client_of(service_name: str, region_name: str) -> Any:
        return boto3.client(service_name, region_name=region_name, **settings)

    def client(service_name: str, region_name: str, **others: Any) -> Any:
        settings.update(others)
        return client_of(service_name, region_name)

    # A client serves any number of threads, and moto makes all of them with the same settings.
    boto_client.boto3 = SimpleNamespace(client=client)


def _read_paths_once() -> None:
    result_path.parse = lru_cache(maxsize=PATHS)(result_path.parse)


def install() -> None:
    _parse_once()
    _read_paths_once()
    _make_clients_once()

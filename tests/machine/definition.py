"""The state machine's definition, and what its expressions give with variables of a test."""

import json
from pathlib import Path
from typing import Any

from glue.jsonata_evaluator import evaluate

MACHINE = Path(__file__).resolve().parents[2] / "statemachine" / "deploy.asl.json"
STATES = json.loads(MACHINE.read_text())["States"]


def value(expression: str, variables: dict[str, Any]) -> Any:
    """What an expression in `{% … %}` gives."""
    return evaluate(expression.removeprefix("{%").removesuffix("%}"), variables)


def next_of(state: str, variables: dict[str, Any]) -> str:
    """The state to which a Choice leads."""
    for choice in STATES[state]["Choices"]:
        if value(choice["Condition"], variables):
            return choice["Next"]
    return STATES[state]["Default"]

"""Rules of composite alarms.

ALARM(…), OK(…) and INSUFFICIENT_DATA(…) of an alarm's name or ARN, TRUE and FALSE, with AND, OR,
NOT and parentheses.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

_STATE = re.compile(
    r"\b(ALARM|OK|INSUFFICIENT_DATA)\(\s*"
    r"(?:\"([^\"]+)\"|'([^']+)'|([^\s\"'()]+))\s*\)"
)
_WORDS = {
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "TRUE": "True",
    "FALSE": "False",
}


class InvalidRule(Exception):
    """A rule that cannot be read."""


@dataclass(frozen=True)
class Rule:
    expression: ast.expr
    #: State and alarm's name for each placeholder of the expression.
    conditions: tuple[tuple[str, str], ...]

    @property
    def alarms(self) -> frozenset[str]:
        """The names of the alarms that the rule looks at."""
        return frozenset(name for _, name in self.conditions)

    def holds(self, state_of: Callable[[str], str | None]) -> bool:
        """Whether the rule holds, where `state_of` answers an alarm's state by its name."""
        return self._holds(self.expression, state_of)

    def _holds(self, node: ast.expr, state_of: Callable[[str], str | None]) -> bool:
        match node:
            case ast.Constant(value=bool() as constant):
                return constant
            case ast.Name(id=placeholder):
                state, name = self.conditions[int(placeholder[1:])]
                return state_of(name) == state
            case ast.UnaryOp(operand=operand):
                return not self._holds(operand, state_of)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(self._holds(value, state_of) for value in values)
            case ast.BoolOp(values=values):
                return any(self._holds(value, state_of) for value in values)
        raise AssertionError(f"parse() lets no {node} through")


def parse(text: str) -> Rule:
    """Reads a rule."""
    conditions: list[tuple[str, str]] = []

    def placeholder(match: re.Match[str]) -> str:
        name = match[2] or match[3] or match[4]
        # An alarm may be named by its ARN, arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME.
        if name.startswith("arn:"):
            name = name.split(":", 6)[-1]
        conditions.append((match[1], name))
        return f"_{len(conditions) - 1}"

    reduced = _STATE.sub(placeholder, text.strip())
    words = re.sub(r"[A-Z]+", lambda it: _WORDS.get(it[0], it[0]), reduced)
    try:
        # In parentheses, since a rule may have several lines.
        expression = ast.parse(f"({words})", mode="eval").body
    except SyntaxError:
        raise InvalidRule(text) from None
    if not _is_rule(expression):
        raise InvalidRule(text)
    return Rule(expression, tuple(conditions))


def _is_rule(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Name(id=name):
            return re.fullmatch(r"_\d+", name) is not None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_rule(operand)
        case ast.BoolOp(values=values):
            return all(map(_is_rule, values))
    return False

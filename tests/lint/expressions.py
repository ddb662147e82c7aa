"""The JSONata expressions of a state machine: where they stand, what they call, what they read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonata

# https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html: JSONata 2.0.6
# without $eval, and six functions more.
ADDED = {"partition", "range", "hash", "random", "uuid", "parse"}
MISSING = {"eval"}


def functions_of_step_functions() -> set[str]:
    """The names of the functions that an expression may call, without their dollar."""
    library = jsonata.Jsonata.static_frame.bindings
    return (set(library) | ADDED) - MISSING


@dataclass
class Expression:
    """One `{% … %}`: its place such as `States.WaitTask.Assign.wait`, and its text without the marks."""

    place: str
    text: str
    error: str = ""
    calls: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    locals: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)

    @staticmethod
    def body(text: str) -> str:
        return text.removeprefix("{%").removesuffix("%}").strip()

    @classmethod
    def parse(cls, place: str, text: str) -> "Expression":
        found = cls(place, cls.body(text))
        try:
            found._visit(jsonata.Jsonata(found.text).ast)
        except Exception as error:  # The parser raises JException and, on some texts, others.
            found.error = f"{error}: {found.text}"
        return found

    @property
    def reads(self) -> set[str]:
        """The workflow variables that the expression reads."""
        return self.variables - self.locals - {"states"}

    def _visit(self, node: Any) -> None:
        if isinstance(node, list | tuple):
            for child in node:
                self._visit(child)
            return
        if not isinstance(node, jsonata.parser.Parser.Symbol):
            return
        procedure = node.procedure if node.type in ("function", "partial") else None
        if procedure is not None and procedure.type == "variable":
            self.calls.add(procedure.value)
        if node.type == "bind":
            self.locals.add(node.lhs.value)
        elif node.type == "lambda":
            self.locals.update(argument.value for argument in node.arguments)
        elif node.type == "variable":
            self.variables.add(node.value)
        elif node.type == "path":
            self._note_reserved(node.steps)
        children = {key: child for key, child in vars(node).items() if not key.startswith("_")}
        for child in children.values():
            if child is not procedure:
                self._visit(child)

    def _note_reserved(self, steps: list[Any]) -> None:
        """Remembers which part of `$states` is read, such as `result`."""
        if len(steps) > 1 and steps[0].type == "variable" and steps[0].value == "states":
            self.reserved.add(steps[1].value)


def expressions(value: Any, place: str = "") -> Iterator[Expression]:
    """All expressions of a part of the state machine, in its order."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from expressions(child, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from expressions(child, f"{place}[{index}]")
    elif isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        yield Expression.parse(place, value)

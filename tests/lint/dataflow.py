"""Which workflow variables have a value where.

Step Functions learns of a variable without a value only when it evaluates the expression, and then
the execution fails with States.QueryEvaluationError. So follow every way through the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from expressions import expressions

# The parts of $states that exist everywhere, and those that a field has besides.
EVERYWHERE = {"input", "context"}
RULES = ("Catch", "Choices", "Retry")
OF_A_RESULT = ("Assign", "Output")


@dataclass
class Step:
    """A transition: the state it leaves, the one it reaches, the variables it gives a value."""

    source: str
    target: str
    assigned: frozenset[str]


def steps(name: str, state: dict[str, Any]) -> Iterator[Step]:
    """The transitions that leave a state."""
    own = frozenset(state.get("Assign", {}))
    for rule in state.get("Choices", []) + state.get("Catch", []):
        yield Step(name, rule["Next"], frozenset(rule.get("Assign", {})))
    for key in ("Next", "Default"):
        if key in state:
            yield Step(name, state[key], own)


def assigned_on_entry(machine: dict[str, Any]) -> dict[str, frozenset[str]]:
    """For every state that can be reached, the variables that surely have a value on entry."""
    states = machine["States"]
    known: dict[str, frozenset[str]] = {machine["StartAt"]: frozenset()}
    waiting = [machine["StartAt"]]
    while waiting:
        name = waiting.pop()
        for step in steps(name, states.get(name, {})):
            arriving = known[name] | step.assigned
            before = known.get(step.target)
            after = arriving if before is None else before & arriving
            if after != before:
                known[step.target] = after
                waiting.append(step.target)
    return known


def findings(machine: dict[str, Any]) -> Iterator[str]:
    """A line for every variable without a value, for every part of $states where there is none, and
    for every variable that nothing reads."""
    known = assigned_on_entry(machine)
    for name in sorted(set(known) - set(machine["States"])):
        yield f"States.{name}: there is no such state"
    read: set[str] = set()
    for name, state in machine["States"].items():
        if name not in known:
            yield f"States.{name}: no way leads there"
            continue
        for expression in expressions(state, f"States.{name}"):
            read |= expression.reads
            for variable in sorted(expression.reads - known[name]):
                yield f"{expression.place}: ${variable} has no value on some way there"
            for part in sorted(expression.reserved - parts_of_states(state, expression.place)):
                yield f"{expression.place}: there is no $states.{part} there"
    for variable in sorted(set(assignments(machine)) - read):
        yield f"${variable} is assigned and never read"


def parts_of_states(state: dict[str, Any], place: str) -> set[str]:
    """The parts of $states that an expression may read. `place` starts with `States.<name>.`."""
    field = place.split(".", 2)[2]
    if field.startswith("Catch"):
        return EVERYWHERE | {"errorOutput"}
    if state["Type"] == "Task" and field.startswith(OF_A_RESULT):
        return EVERYWHERE | {"result"}
    return EVERYWHERE


def assignments(machine: dict[str, Any]) -> Iterator[str]:
    """Every variable that is given a value anywhere."""
    for state in machine["States"].values():
        for holder in [state, *(rule for key in RULES for rule in state.get(key, []))]:
            yield from holder.get("Assign", {})

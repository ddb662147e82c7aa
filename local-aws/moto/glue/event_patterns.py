"""Event patterns: which events a rule is for.

Holes in moto 5.2.5: an operator it does not know matches everything, fields of objects in an
array match nothing, `true` equals 1, a dot in a field's name is taken for a level, operands are
not checked by PutRule, and TestEventPattern is not there.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from operator import eq, ge, gt, le, lt
from typing import Any

from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventPattern, EventPatternParser
from moto.events.responses import EventsHandler

Pattern = dict[str, Any]

COMPARISONS = {"<": lt, "<=": le, "=": eq, ">=": ge, ">": gt}

#: The fields an event needs for TestEventPattern.
EVENT_FIELDS = ("id", "account", "source", "time", "region", "resources", "detail-type")


def matches(pattern: Pattern, event: Any) -> bool:
    """Whether an event, or an object within it, is as the pattern says."""
    if isinstance(event, list):
        # One element has to be right in all fields.
        return any(matches(pattern, element) for element in event)
    fields = event if isinstance(event, dict) else {}
    return all(_field_matches(name, wanted, fields) for name, wanted in pattern.items())


def _field_matches(name: str, wanted: Any, fields: dict[str, Any]) -> bool:
    if name == "$or":
        return any(matches(alternative, fields) for alternative in wanted)
    found = fields.get(name, {})
    if isinstance(wanted, dict):
        return matches(wanted, found)
    values = list(_leaves(found))
    return any(_is(condition, values) for condition in wanted)


def _leaves(value: Any) -> Iterator[Any]:
    """The values conditions are about: objects are none, an array's elements are each one."""
    if isinstance(value, list):
        for element in value:
            yield from _leaves(element)
    elif not isinstance(value, dict):
        yield value


def _is(condition: Any, values: list[Any]) -> bool:
    if not isinstance(condition, dict):
        return any(_equal(condition, value) for value in values)
    [(operator, operand)] = condition.items()
    if operator == "exists":
        return bool(values) == operand
    return any(OPERATORS[operator][1](operand, value) for value in values)


def _equal(wanted: Any, value: Any) -> bool:
    """Equal as written: `300` is not `300.0`, and neither is `"300"`.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
    """
    return type(wanted) is type(value) and wanted == value


# Operators.


def _each(one: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """An operator that takes a list of operands, of which one has to hold, as well."""

    def any_of(operand: Any, value: Any) -> bool:
        operands = operand if isinstance(operand, list) else [operand]
        return any(one(operand, value) for operand in operands)

    return any_of


def _affix(starts: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def holds(operand: Any, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if isinstance(operand, dict):
            return starts(value.lower(), operand["equals-ignore-case"].lower())
        return starts(value, operand)

    return holds


def _equals_ignoring_case(operand: str, value: Any) -> bool:
    return isinstance(value, str) and value.lower() == operand.lower()


def _wildcard(operand: str, value: Any) -> bool:
    """`*` stands for any characters, `\\*` and `\\\\` for themselves."""
    tokens = re.findall(r"\\[*\\]|.", operand, re.DOTALL)
    expression = "".join(
        ".*" if token == "*" else re.escape(token[-1]) for token in tokens
    )
    return (
        isinstance(value, str)
        and re.fullmatch(expression, value, re.DOTALL) is not None
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numeric(operand: list[Any], value: Any) -> bool:
    bounds = zip(operand[::2], operand[1::2], strict=True)
    return _is_number(value) and all(
        COMPARISONS[comparison](value, bound) for comparison, bound in bounds
    )


def _anything_but(operand: Any, value: Any) -> bool:
    if isinstance(operand, dict):
        [(operator, excluded)] = operand.items()
        return not OPERATORS[operator][1](excluded, value)
    excluded = operand if isinstance(operand, list) else [operand]
    return not any(_equal(one, value) for one in excluded)


def _cidr(operand: str, value: Any) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(
            operand, strict=False
        )
    except ValueError:
        return False


# What operands may be.


def _is_text(operand: Any) -> bool:
    return isinstance(operand, str)


def _are_texts(operand: Any) -> bool:
    return _is_text(operand) or (
        isinstance(operand, list) and bool(operand) and all(map(_is_text, operand))
    )


def _is_affix(operand: Any) -> bool:
    if isinstance(operand, dict):
        return list(operand) == ["equals-ignore-case"] and all(
            map(_is_text, operand.values())
        )
    return _are_texts(operand)


def _are_comparisons(operand: Any) -> bool:
    return (
        isinstance(operand, list)
        and len(operand) in (2, 4)
        and all(comparison in COMPARISONS for comparison in operand[::2])
        and all(_is_number(bound) for bound in operand[1::2])
    )


def _is_exclusion(operand: Any) -> bool:
    if isinstance(operand, dict):
        names = list(operand)
        allowed = ("prefix", "suffix", "equals-ignore-case", "wildcard")
        return len(names) == 1 and names[0] in allowed and _are_texts(operand[names[0]])
    if isinstance(operand, list):
        return _are_texts(operand) or (bool(operand) and all(map(_is_number, operand)))
    return _is_text(operand) or _is_number(operand)


def _is_network(operand: Any) -> bool:
    try:
        ipaddress.ip_network(operand, strict=False)
    except ValueError:
        return False
    return _is_text(operand)


def _is_flag(operand: Any) -> bool:
    return isinstance(operand, bool)


#: Each operator: what its operand may be, and whether a value is as it says. `exists` is about
#: all values of a field, not about one.
OPERATORS: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Any], bool]]] = {
    "anything-but": (_is_exclusion, _anything_but),
    "cidr": (_is_network, _cidr),
    "equals-ignore-case": (_are_texts, _each(_equals_ignoring_case)),
    "numeric": (_are_comparisons, _numeric),
    "prefix": (_is_affix, _each(_affix(str.startswith))),
    "suffix": (_is_affix, _each(_affix(str.endswith))),
    "wildcard": (_are_texts, _each(_wildcard)),
}


# What PutRule refuses.


def check(pattern: Any) -> None:
    """Raises where a pattern is not one."""
    if not isinstance(pattern, dict):
        raise InvalidEventPatternException(reason="Filter is not an object")
    for name, wanted in pattern.items():
        if name == "$or":
            _check_alternatives(wanted)
        elif isinstance(wanted, dict):
            check(wanted)
        elif not isinstance(wanted, list):
            raise InvalidEventPatternException(
                reason=f'"{name}" must be an object or an array'
            )
        elif not wanted:
            raise InvalidEventPatternException(reason="Empty arrays are not allowed")
        else:
            for condition in wanted:
                _check_condition(name, condition)


def _check_alternatives(alternatives: Any) -> None:
    if not isinstance(alternatives, list) or len(alternatives) < 2:
        raise InvalidEventPatternException(
            reason="$or must be an array of at least two objects"
        )
    for alternative in alternatives:
        check(alternative)


def _check_condition(name: str, condition: Any) -> None:
    if isinstance(condition, list):
        raise InvalidEventPatternException(
            reason=f'"{name}" has an array within an array'
        )
    if not isinstance(condition, dict):
        return
    if len(condition) != 1:
        raise InvalidEventPatternException(
            reason="Only one key allowed in match expression"
        )
    [(operator, operand)] = condition.items()
    if operator == "exists":
        valid = _is_flag(operand)
    elif operator in OPERATORS:
        valid = OPERATORS[operator][0](operand)
    else:
        raise InvalidEventPatternException(reason=f"Unrecognized match type {operator}")
    if not valid:
        raise InvalidEventPatternException(
            reason=f"{json.dumps(operand)} is not what {operator} takes"
        )


# moto.


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValidationException(f"{what} is not valid JSON: {error}") from error


def _test_event_pattern(self: EventsHandler) -> str:
    """https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html"""
    event = _parsed(self._get_param("Event"), "Parameter Event")
    missing = [field for field in EVENT_FIELDS if field not in event]
    if missing:
        raise ValidationException(
            f"Parameter Event is not valid. Reason: it has no {', '.join(missing)}."
        )
    pattern = EventPattern.load(self._get_param("EventPattern"))
    return json.dumps({"Result": pattern.matches_event(event)})


def install() -> None:
    """Puts this in the place of moto's own matching."""

    def matches_event(self: EventPattern, event: dict[str, Any]) -> bool:
        return matches(self.get_pattern(), event)

    def validate(self: EventPatternParser, pattern: Any) -> None:
        check(pattern)

    EventPattern.matches_event = matches_event
    EventPatternParser._validate_event_pattern = validate
    EventsHandler.test_event_pattern = _test_event_pattern

"""JSONata in state machines.

Holes in moto 5.2.5: its interpreter has no JSONata evaluator (`_eval_jsonata` is None), pastes
variables into the expression as text without escaping them, stubs `$hash` and `$uuid`, rejects
`$` inside predicates, does not tell a result that is null from none, and turns an expression's failure into `States.Runtime` where Step
Functions raises `States.QueryEvaluationError`.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import hashlib
import json
import math
import random
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils
from moto.stepfunctions.parser.api import (
    EvaluationFailedEventDetails,
    HistoryEventType,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.states import States
from moto.stepfunctions.parser.asl.eval.variable_store import VariableStore

from glue.step_functions import timestamp

#: The most elements $range may give.
RANGE_LIMIT = 1000

#: Hash algorithms of $hash, by the names Step Functions gives them.
HASH_ALGORITHMS = {
    "MD5": hashlib.md5,
    "SHA-1": hashlib.sha1,
    "SHA-256": hashlib.sha256,
    "SHA-384": hashlib.sha384,
    "SHA-512": hashlib.sha512,
}


class EvaluationError(Exception):
    """An expression that cannot be evaluated, with a sentence why."""


def evaluate(expression: str, variables: dict[str, Any]) -> Any:
    """The value of `expression`, as JSON.

    `variables` are JSON values by their names without `$`. An undefined value is an error, as
    is one that is no JSON (a function).
    """
    bindings = {name: _nulls_bound(value) for name, value in variables.items()}
    try:
        compiled = Jsonata(expression)
        compiled.set_output_convert_nulls(False)
        for name, function in FUNCTIONS.items():
            compiled.register_lambda(name, function)
        value = compiled.evaluate(None, bindings)
    except EvaluationError:
        raise
    except RecursionError as error:
        raise EvaluationError("it recurses too deeply") from error
    except Exception as error:  # jsonata raises whatever Python raises inside
        raise EvaluationError(str(error)) from error
    if value is None:
        raise EvaluationError("returned nothing (undefined).")
    return _as_json(value)


def _nulls_bound(value: Any) -> Any:
    """JSON's null as jsonata-python has it; Python's None is its "undefined"."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {key: _nulls_bound(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_nulls_bound(member) for member in value]
    return value


def _as_json(value: Any) -> Any:
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError("returned a number that JSON does not have.")
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _as_json(member) for key, member in value.items()}
    if isinstance(value, list | range):
        return [_as_json(member) for member in value]
    if hasattr(value, "__iter__") and not callable(value):
        return [_as_json(member) for member in value]
    raise EvaluationError("returned an unsupported result type.")


def _partition(array: list[Any], size: int) -> list[list[Any]]:
    if int(size) < 1:
        raise EvaluationError("$partition needs a size of at least 1")
    size = int(size)
    return [array[start : start + size] for start in range(0, len(array), size)]


def _range(first: int, last: int, step: int) -> list[int]:
    if step == 0:
        raise EvaluationError("$range needs a step other than 0")
    count = max(0, math.floor((last - first) / step) + 1)
    if count > RANGE_LIMIT:
        raise EvaluationError(f"$range gives at most {RANGE_LIMIT} elements")
    return [first + index * step for index in range(count)]


def _hash(value: str, algorithm: str) -> str:
    if algorithm not in HASH_ALGORITHMS:
        raise EvaluationError(f"$hash has no algorithm {algorithm}")
    return HASH_ALGORITHMS[algorithm](str(value).encode()).hexdigest()


def _random(seed: int | None = None) -> float:
    return random.random() if seed is None else random.Random(seed).random()


def _uuid() -> str:
    return str(uuid.uuid4())


def _parse(text: str) -> Any:
    try:
        return _nulls_bound(json.loads(text))
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"$parse was given no JSON: {error}") from error


def _eval(*_arguments: Any) -> Any:
    raise EvaluationError("$eval is not supported; use $parse")


#: What Step Functions adds to JSONata, and `$eval`, which it takes away.
#: https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": _uuid,
    "parse": _parse,
    "eval": _eval,
}


def _as_text(value: Any) -> str:
    """What JSON has no form for: the interpreter keeps some times as objects."""
    return timestamp(value) if isinstance(value, datetime) else str(value)


def _variables(environment: Environment) -> dict[str, Any]:
    """`$states` and everything assigned so far, as JSON."""
    store = environment.variable_store
    has_result = getattr(environment.states, "has_result", False)
    states = {
        name: value
        for name, value in environment.states._states_data.items()
        # `result` and `errorOutput` exist only where there is one.
        if value is not None or name == "input" or (name == "result" and has_result)
    }
    variables = {**store._outer_scope, **store._inner_scope, "states": states}
    variables = json.loads(json.dumps(variables, default=_as_text))
    state = variables["states"]["context"].get("State")
    if state:
        state["EnteredTime"] = timestamp(datetime.fromisoformat(state["EnteredTime"]))
    return variables


def failure(environment: Environment, cause: str) -> FailureEventException:
    """`States.QueryEvaluationError`, to be raised."""
    error = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EvaluationFailedEventDetails(cause=cause, error=error.error_name)
    return FailureEventException(
        failure_event=FailureEvent(
            env=environment,
            error_name=error,
            event_type=HistoryEventType.EvaluationFailed,
            event_details=EventDetails(evaluationFailedEventDetails=details),
        )
    )


def _eval_body(self: Any, environment: Environment) -> None:
    try:
        value = evaluate(self.expression, _variables(environment))
    except EvaluationError as error:
        cause = f"The JSONata expression '{self.expression}' {error}"
        raise failure(environment, cause) from error
    environment.stack.append(value)


def _assigned_variables(self: VariableStore) -> dict[str, str]:
    """For the history: each assigned value as JSON (moto does not escape strings)."""
    return {
        name: json.dumps(self.get(name), default=_as_text)
        for name in self._declaration_tracing
    }


def _know_results() -> None:
    set_result, reset = States.set_result, States.reset

    def set_and_note(self: States, result: Any) -> None:
        set_result(self, result)
        self.has_result = True

    def reset_and_note(self: States, input_value: Any) -> None:
        reset(self, input_value)
        self.has_result = False

    States.set_result = set_and_note
    States.reset = reset_and_note


def install() -> None:
    """Gives moto's interpreter a JSONata evaluator."""
    _know_results()
    string_expression.StringJSONata._eval_body = _eval_body
    VariableStore.get_assigned_variables = _assigned_variables

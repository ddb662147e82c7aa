"""Metric math: the part of it that templates use.

Arithmetic, comparisons, AND and OR over metrics and numbers; SUM, AVG, MIN and MAX of one metric
(a number) or of several (a series); METRICS, FILL, IF, ABS, CEIL, FLOOR and PERIOD. An expression
with anything else raises `UnsupportedExpression`, which says what it does not know.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

#: Values by the moment at which their period begins; a missing datapoint is no key.
Series = dict[float, float]
Value = float | Series | list[Series]


class UnsupportedExpression(Exception):
    """An expression that cannot be computed here, and why."""


OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.And: lambda left, right: bool(left) and bool(right),
    ast.Or: lambda left, right: bool(left) or bool(right),
}
AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
ROUNDINGS: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
}


def evaluate(
    expression: str,
    series: Callable[[str], Series],
    metrics: list[str],
    starts: list[float],
    period: float,
) -> Series:
    """The series that an expression gives.

    `series` answers another query's result by its id; `metrics` are the ids that METRICS() means;
    `starts` are the moments at which the periods begin.
    """
    try:
        tree = ast.parse(_as_python(expression), mode="eval")
    except SyntaxError:
        raise UnsupportedExpression(f"{expression} cannot be read") from None
    value = _Evaluation(series, metrics, starts, period).value(tree.body)
    if isinstance(value, list):
        raise UnsupportedExpression(f"{expression} gives more than one series")
    return value if isinstance(value, dict) else dict.fromkeys(starts, value)


def _as_python(expression: str) -> str:
    """The expression with the operators that Python writes otherwise; texts stay as they are."""
    parts = re.split(r"(\"[^\"]*\"|'[^']*')", expression.strip())
    for index in range(0, len(parts), 2):
        part = parts[index].replace("^", "**")
        part = re.sub(r"\bAND\b|&&", " and ", part)
        parts[index] = re.sub(r"\bOR\b|\|\|", " or ", part)
    return "".join(parts)


class _Evaluation:
    def __init__(
        self,
        series: Callable[[str], Series],
        metrics: list[str],
        starts: list[float],
        period: float,
    ):
        self.series = series
        self.metrics = metrics
        self.starts = starts
        self.period = period

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() | None | str()):
                pass
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return self.series(name)
            case ast.List(elts=elements):
                return self.several(elements)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _each(lambda it: -it, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return _both(OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                if type(op) in OPERATORS:
                    function = OPERATORS[type(op)]
                    return _both(function, self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=[first, *others]):
                result = self.value(first)
                for other in others:
                    result = _both(OPERATORS[type(op)], result, self.value(other))
                return result
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.call(name.upper(), arguments)
        raise UnsupportedExpression(f"{ast.unparse(node)} is not known here")

    def several(self, nodes: list[ast.expr]) -> list[Series]:
        result: list[Series] = []
        for node in nodes:
            value = self.value(node)
            if isinstance(value, list):
                result.extend(value)
            elif isinstance(value, dict):
                result.append(value)
            else:
                result.append(dict.fromkeys(self.starts, value))
        return result

    def call(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "METRICS", []:
                return [self.series(it) for it in self.metrics]
            case "METRICS", [ast.Constant(value=str() as part)]:
                return [self.series(it) for it in self.metrics if part in it]
            case "FILL", [metric, ast.Name(id="REPEAT")]:
                return _each_series(self.repeated, self.value(metric))
            case "FILL", [metric, filling]:
                return self.filled(self.value(metric), self.value(filling))
            case "IF", [condition, *branches] if len(branches) in (1, 2):
                return self.chosen(condition, branches)
            case "PERIOD", [_]:
                return self.period
            case _, [argument] if name in ROUNDINGS:
                return _each(ROUNDINGS[name], self.value(argument))
            case _, [argument] if name in AGGREGATES:
                return self.aggregated(AGGREGATES[name], self.value(argument))
        raise UnsupportedExpression(
            f"the function {name} with {len(arguments)} arguments is not known here"
        )

    def aggregated(
        self, function: Callable[[list[float]], float], value: Value
    ) -> Value:
        if isinstance(value, float):
            return value
        if isinstance(value, dict):
            if not value:
                return {}
            return float(function(list(value.values())))
        result = {}
        for start in self.starts:
            values = [it[start] for it in value if start in it]
            if values:
                result[start] = float(function(values))
        return result

    def repeated(self, series: Series) -> Series:
        result: Series = {}
        last = None
        for start in self.starts:
            last = series.get(start, last)
            if last is not None:
                result[start] = last
        return result

    def filled(self, value: Value, filling: Value) -> Value:
        if isinstance(filling, list):
            raise UnsupportedExpression("FILL takes a number or one metric")
        source = filling if isinstance(filling, dict) else {}
        number = filling if isinstance(filling, float) else None

        def fill(series: Series) -> Series:
            result = {}
            for start in self.starts:
                found = series.get(start, source.get(start, number))
                if found is not None:
                    result[start] = found
            return result

        return _each_series(fill, value)

    def chosen(self, condition: ast.expr, branches: list[ast.expr]) -> Value:
        decided = self.value(condition)
        values = [self.value(branch) for branch in branches]
        if isinstance(decided, list) or any(isinstance(it, list) for it in values):
            raise UnsupportedExpression("IF takes numbers and single metrics")
        # Of the moments at which the condition is known; without a second branch those at which
        # it does not hold have no datapoint.
        result = {}
        for start in self.starts:
            held = _at(decided, start)
            if held is None:
                continue
            branch = values[0] if held else (values[1] if len(values) == 2 else {})
            found = _at(branch, start)
            if found is not None:
                result[start] = found
        return result


def _at(value: Any, start: float) -> float | None:
    return value.get(start) if isinstance(value, dict) else value


def _each(function: Callable[[float], float], value: Value) -> Value:
    if isinstance(value, float):
        return float(function(value))
    return _each_series(
        lambda series: {start: float(function(it)) for start, it in series.items()},
        value,
    )


def _each_series(function: Callable[[Series], Series], value: Value) -> Value:
    if isinstance(value, list):
        return [function(series) for series in value]
    if isinstance(value, dict):
        return function(value)
    raise UnsupportedExpression("a metric is wanted where a number stands")


def _both(
    function: Callable[[float, float], float], left: Value, right: Value
) -> Value:
    """Applies an operator where both sides have a datapoint. What divides by zero has none."""
    if isinstance(left, list) or isinstance(right, list):
        raise UnsupportedExpression("operators take numbers and single metrics")
    if isinstance(left, float) and isinstance(right, float):
        try:
            return float(function(left, right))
        except ZeroDivisionError:
            return {}
    sides = [it for it in (left, right) if isinstance(it, dict)]
    result = {}
    for start in sides[0]:
        values = [_at(left, start), _at(right, start)]
        if None in values:
            continue
        try:
            result[start] = float(function(*values))
        except ZeroDivisionError:
            continue
    return result

"""What an alarm's state is, given its datapoints.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"

#: CloudWatch looks at more datapoints than it needs, so that late or sparse ones count. How many
#: more depends on the period, which the documentation does not detail; its examples have two.
MORE_DATAPOINTS = 2

#: How a value is compared with the threshold, and how a reason says it.
COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Condition:
    """What makes an alarm: its settings without the metric."""

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    treat_missing_data: str = "missing"

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison][0](value, self.threshold)


@dataclass(frozen=True)
class Datapoint:
    """A period's start, in seconds since the epoch, and its value; none where it is missing."""

    start: float
    value: float | None


@dataclass(frozen=True)
class Judgement:
    state: str
    reason: str
    #: Those with a value on which it rests, the newest first.
    considered: tuple[Datapoint, ...]


def judge(
    condition: Condition, datapoints: list[Datapoint], current: str
) -> Judgement:
    """The state after looking at the datapoints of the evaluation range, the oldest first.

    `current` is the state before: some data decide nothing, and then it stays.
    """
    wanted = condition.evaluation_periods
    real = [it for it in datapoints if it.value is not None]
    considered = tuple(reversed(real[-wanted:]))
    missing = wanted - len(considered)
    state = _state(condition, datapoints, considered, missing, current)
    reason = _reason(condition, considered, missing, state)
    return Judgement(state, reason, considered)


def _state(
    condition: Condition,
    datapoints: list[Datapoint],
    considered: tuple[Datapoint, ...],
    missing: int,
    current: str,
) -> str:
    breaching = sum(condition.breaches(it.value) for it in considered)
    enough = condition.datapoints_to_alarm
    treatment = condition.treat_missing_data
    if breaching >= enough:
        return ALARM
    if treatment == "breaching":
        return ALARM if breaching + missing >= enough else OK
    if treatment == "notBreaching" or breaching < len(considered):
        return OK
    if treatment == "ignore":
        return current
    if not considered:
        return INSUFFICIENT_DATA
    # All there is is breaching, but too few of it. It makes an alarm once it is so old that the
    # datapoints wanted could all have come since; until then nothing is known yet.
    age = len(datapoints) - datapoints.index(considered[-1])
    return ALARM if age >= enough else current


def _reason(
    condition: Condition, considered: tuple[Datapoint, ...], missing: int, state: str
) -> str:
    if state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {_were(missing, 'datapoint')} unknown."
    if not considered:
        periods = condition.evaluation_periods
        treated = "Breaching" if state == ALARM else "NonBreaching"
        return (
            f"Threshold Crossed: no datapoints were received for {_counted(periods, 'period')} "
            f"and {_were(missing, 'missing datapoint')} treated as [{treated}]."
        )
    alarming = [condition.breaches(it.value) == (state == ALARM) for it in considered]
    count, negation = sum(alarming), "" if state == ALARM else "not "
    verb = "was" if count == 1 else "were"
    shown = ", ".join(f"{it.value} ({_minute(it.start)})" for it in considered)
    enough = condition.datapoints_to_alarm
    needed = enough if state == ALARM else condition.evaluation_periods - enough + 1
    change = "OK -> ALARM" if state == ALARM else "ALARM -> OK"
    return (
        f"Threshold Crossed: {count} out of the last "
        f"{_counted(len(considered), 'datapoint')} [{shown}] "
        f"{verb} {negation}{COMPARISONS[condition.comparison][1]} the threshold "
        f"({condition.threshold}) (minimum {_counted(needed, 'datapoint')} for "
        f"{change} transition)."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _were(count: int, noun: str) -> str:
    return f"{_counted(count, noun)} {'was' if count == 1 else 'were'}"


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%d/%m/%y %H:%M:%S")

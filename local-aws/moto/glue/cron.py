"""EventBridge's cron expressions: at which times they fire.

Six fields: minutes, hours, day of month, month, day of week and year, in UTC. One of the two days
is `?`. Days of the week are counted from Sunday, which is 1.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

EXPRESSION = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name: number for number, name in enumerate("SUN MON TUE WED THU FRI SAT".split(), 1)}

#: Whether a day is one on which an expression fires.
Day = Callable[[date], bool]


class Invalid(Exception):
    """A text that is no cron expression; it says which part is wrong."""


@dataclass(frozen=True)
class Cron:
    """The times at which an expression fires."""

    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int]
    is_day: Day

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time behind a moment; none if that was the last one."""
        day = moment.date()
        while day.year <= max(self.years):
            if day.year in self.years and day.month in self.months and self.is_day(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        due = datetime.combine(day, time(hour, minute), timezone.utc)
                        if due > moment:
                            return due
            day += timedelta(days=1)
        return None


def parse(expression: str) -> Cron:
    """Reads `cron(…)`."""
    fields = EXPRESSION.fullmatch(expression)
    if not fields:
        raise Invalid("there have to be six fields between the brackets of cron(…)")
    minutes, hours, day_of_month, month, day_of_week, year = fields.groups()
    if (day_of_month == "?") == (day_of_week == "?"):
        raise Invalid("one of day of month and day of week has to be ?, and only one")
    if day_of_week == "?":
        is_day = _days_of_month(day_of_month)
    else:
        is_day = _days_of_week(day_of_week)
    return Cron(
        _numbers(minutes, 0, 59),
        _numbers(hours, 0, 23),
        _numbers(month, 1, 12, MONTHS),
        _numbers(year, 1970, 2199),
        is_day,
    )


def _numbers(
    field: str, first: int, last: int, names: dict[str, int] | None = None
) -> frozenset[int]:
    """`*`, and lists of numbers, ranges such as `2-5`, and steps such as `0/15`."""

    def number(text: str) -> int:
        value = (names or {}).get(text.upper())
        if value is None and text.isdecimal():
            value = int(text)
        if value is None or not first <= value <= last:
            raise Invalid(f"{text!r} in {field!r} is not between {first} and {last}")
        return value

    found: set[int] = set()
    for part in field.split(","):
        values, _, step = part.partition("/")
        if values == "*":
            start, end = first, last
        else:
            start_text, _, end_text = values.partition("-")
            start = number(start_text)
            # A step without an end goes on to the last value.
            end = number(end_text) if end_text else last if step else start
        if step and not (step.isdecimal() and int(step) > 0):
            raise Invalid(f"{step!r} in {field!r} is no step")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _weekday(day: date) -> int:
    """1 is Sunday."""
    return day.isoweekday() % 7 + 1


def _days_of_month(field: str) -> Day:
    """Numbers, `L` for the last day, `15W` for the working day nearest to the 15th."""
    if field == "L":
        return lambda day: day.day == _last_day(day)
    if field.endswith("W"):
        (wanted,) = _numbers(field[:-1], 1, 31)
        return lambda day: day.day == _nearest_working_day(day, wanted)
    days = _numbers(field, 1, 31)
    return lambda day: day.day in days


def _nearest_working_day(month: date, wanted: int) -> int | None:
    """The day of the month that is nearest to another, of Monday to Friday; it never leaves the
    month. None where the month has no such day."""
    last = _last_day(month)
    if wanted > last:
        return None
    weekday = _weekday(month.replace(day=wanted))
    if weekday == WEEKDAYS["SAT"]:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == WEEKDAYS["SUN"]:
        return wanted + 1 if wanted < last else wanted - 2
    return wanted


def _days_of_week(field: str) -> Day:
    """Numbers or names, `L` for the week's last day, `6L` for the month's last Friday, `3#2` for
    its second Tuesday."""
    if field == "L":
        return lambda day: _weekday(day) == WEEKDAYS["SAT"]
    if field.upper().endswith("L"):
        (wanted,) = _numbers(field[:-1], 1, 7, WEEKDAYS)
        return lambda day: _weekday(day) == wanted and day.day > _last_day(day) - 7
    if "#" in field:
        weekday, _, count = field.partition("#")
        (wanted,) = _numbers(weekday, 1, 7, WEEKDAYS)
        (nth,) = _numbers(count, 1, 5)
        return lambda day: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == nth
    days = _numbers(field, 1, 7, WEEKDAYS)
    return lambda day: _weekday(day) in days

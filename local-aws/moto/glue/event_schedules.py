"""Rules with a schedule: `rate(5 minutes)` fires every five minutes of the local clock, `cron(…)`
when that clock shows one of its times.

Hole in moto 5.2.5: a rule's `ScheduleExpression` is kept, and nothing happens.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import inspect
import itertools
import re
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from moto.events.exceptions import ValidationException
from moto.events.models import EventsBackend, Rule, events_backends

from glue import clock, cron
from glue.event_targets import send

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
SECONDS = {"minute": 60, "hour": 60 * 60, "day": 24 * 60 * 60}


def waits(expression: str) -> Iterator[float]:
    """How many seconds of AWS pass until a schedule fires, and from then on until the next time.

    Raises `cron.Invalid` where the expression is none.
    """
    rate = RATE.fullmatch(expression)
    if rate:
        return itertools.repeat(int(rate[1]) * SECONDS[rate[2]])
    return _until_each(cron.parse(expression))


def _until_each(schedule: cron.Cron) -> Iterator[float]:
    moment = clock.local_time()
    while due := schedule.next_after(moment):
        yield (due - moment).total_seconds()
        moment = due


def _fire(rule: Rule) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html"""
    send(
        rule,
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": rule.account_id,
            "time": time.time(),
            "region": rule.region_name,
            "resources": [rule.arn],
            "detail": {},
            "ingestion-time": time.time(),
        },
    )


def _keep_firing(rule: Rule, schedule: Iterator[float]) -> None:
    """Fires until the rule is deleted or replaced, or the schedule ends."""
    backend = events_backends[rule.account_id][rule.region_name]
    due = time.monotonic()
    for seconds in schedule:
        due += clock.scaled(seconds)
        time.sleep(max(0.0, due - time.monotonic()))
        bus = backend.event_buses.get(rule.event_bus_name)
        if bus is None or bus.rules.get(rule.name) is not rule:
            return
        if rule.state != "DISABLED":
            _fire(rule)


def install() -> None:
    """Lets schedules pass."""
    put_unscheduled = EventsBackend.put_rule
    parameters = inspect.signature(put_unscheduled)

    def put_rule(self: EventsBackend, *arguments: Any, **keywords: Any) -> Rule:
        given = parameters.bind(self, *arguments, **keywords).arguments
        expression = given.get("scheduled_expression")
        try:
            schedule = waits(expression) if expression else None
        except cron.Invalid as error:
            text = f"Parameter ScheduleExpression is not valid: {error}."
            raise ValidationException(text) from error
        rule = put_unscheduled(self, *arguments, **keywords)
        if schedule:
            arguments = (rule, schedule)
            threading.Thread(target=_keep_firing, args=arguments, daemon=True).start()
        return rule

    EventsBackend.put_rule = put_rule

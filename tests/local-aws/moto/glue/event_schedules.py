"""Rules with a schedule: `rate(5 minutes)` fires every five minutes of the local clock.

Hole in moto 5.2.5: a rule's `ScheduleExpression` is kept, and nothing happens. Rules with
`cron(…)` do not fire here either, since times of day mean nothing where time passes faster; a
warning says so.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import logging
import re
import threading
import time
import uuid
from typing import Any

from moto.events.models import EventsBackend, Rule, events_backends

from glue import clock
from glue.event_targets import send

logger = logging.getLogger("glue.event_schedules")

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
SECONDS = {"minute": 60, "hour": 60 * 60, "day": 24 * 60 * 60}


def seconds_between(expression: str) -> float | None:
    """How often a rate fires, at AWS's pace; nothing for other schedules."""
    rate = RATE.fullmatch(expression)
    return int(rate[1]) * SECONDS[rate[2]] if rate else None


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


def _keep_firing(rule: Rule, seconds: float) -> None:
    """Fires until the rule is deleted or replaced; the first time after one interval."""
    backend = events_backends[rule.account_id][rule.region_name]
    due = time.monotonic()
    while True:
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

    def put_rule(self: EventsBackend, *arguments: Any, **keywords: Any) -> Rule:
        rule = put_unscheduled(self, *arguments, **keywords)
        expression = rule.scheduled_expression
        seconds = seconds_between(expression) if expression else None
        if seconds:
            arguments = (rule, seconds)
            threading.Thread(target=_keep_firing, args=arguments, daemon=True).start()
        elif expression:
            logger.warning("%s does not fire: %s is no rate", rule.arn, expression)
        return rule

    EventsBackend.put_rule = put_rule

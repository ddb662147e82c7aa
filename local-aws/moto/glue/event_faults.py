"""Deliveries that go wrong on demand: events that come twice, late, out of order or never.

EventBridge delivers an event at least once, in no order, and not all services promise that theirs
arrive. What that does to a program can only be tested if it happens when it is wanted. An event has
several targets, and a fault may be about some of them: the others get it as ever.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event.html
"""

import threading
import uuid
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from moto.events.exceptions import InvalidEventPatternException
from moto.events.models import EventBus, Rule

from glue import clock, event_patterns, routes
from glue.event_targets import reaches, show
from glue.event_templates import Event, Target, as_delivered

TWICE = "TWICE"
LATE = "LATE"
OUT_OF_ORDER = "OUT_OF_ORDER"
NEVER = "NEVER"
DELIVERIES = (TWICE, LATE, OUT_OF_ORDER, NEVER)

#: An event and the bus it is on its way into.
Arrival = tuple[EventBus, Event]


@dataclass
class Fault:
    """What happens to the next events that match a pattern."""

    pattern: dict[str, Any]
    deliver: str
    times: int
    #: How late, at AWS's pace.
    seconds: float = 0.0
    #: The rule's name, with wildcards.
    rule: str = "*"
    #: The target's ARN, or what it ends with behind a colon, such as a function's or a queue's
    #: name; with wildcards.
    target: str = "*"
    id: str = field(init=False, default_factory=lambda: str(uuid.uuid4()))
    struck: int = field(init=False, default=0)
    #: The event that waits for the next one.
    held: Arrival | None = field(init=False, default=None)

    def matches(self, event: Event) -> bool:
        return event_patterns.matches(self.pattern, as_delivered(event))

    def concerns(self, bus: EventBus, event: Event) -> bool:
        """Whether it can strike an event, which a fault of certain targets cannot if none of them
        gets it."""
        if not self.matches(event):
            return False
        return self.is_about_all or reaches(bus, event, self.is_about)

    @property
    def is_about_all(self) -> bool:
        return self.rule == self.target == "*"

    def is_about(self, rule: Rule, target: Target) -> bool:
        names = (target["Arn"], target["Arn"].split(":")[-1])
        at = any(fnmatchcase(name, self.target) for name in names)
        return at and fnmatchcase(rule.name, self.rule)

    def spares(self, rule: Rule, target: Target) -> bool:
        return not self.is_about(rule, target)

    @property
    def is_open(self) -> bool:
        # One that holds an event waits for another to go before it.
        return self.struck < self.times and self.held is None

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pattern": self.pattern,
            "rule": self.rule,
            "target": self.target,
            "deliver": self.deliver,
            "seconds": self.seconds,
            "times": self.times,
            "struck": self.struck,
            "holds": self.held is not None,
        }


# Events sent to another bus come back here while the lock is held.
_lock = threading.RLock()
_faults: list[Fault] = []


def deliver(bus: EventBus, event: Event) -> None:
    """Sends an event into a bus, unless a fault wants it otherwise. Of several the oldest does."""
    with _lock:
        fault = next((it for it in _faults if it.is_open and it.concerns(bus, event)), None)
        if fault is None:
            show(bus, event)
        else:
            fault.struck += 1
            show(bus, event, fault.spares)
            if fault.deliver == TWICE:
                show(bus, event, fault.is_about)
                show(bus, event, fault.is_about)
            elif fault.deliver == LATE:
                seconds = clock.scaled(fault.seconds)
                late = threading.Timer(seconds, _deliver_late, args=(fault, bus, event))
                late.daemon = True
                late.start()
        if fault is None or fault.deliver == TWICE:
            _release_behind(bus, event)
        if fault is not None and fault.deliver == OUT_OF_ORDER:
            fault.held = (bus, event)


def _deliver_late(fault: Fault, bus: EventBus, event: Event) -> None:
    with _lock:
        show(bus, event, fault.is_about)
        _release_behind(bus, event)


def _release_behind(bus: EventBus, event: Event) -> None:
    """Sends the events that waited for this one, which has been delivered."""
    for fault in _faults:
        if fault.held and fault.concerns(bus, event):
            _release(fault)


def _release(fault: Fault) -> None:
    if fault.held:
        arrival, fault.held = fault.held, None
        show(*arrival, fault.is_about)


@routes.route("POST", "/_glue/events/faults")
def order(body: Any) -> dict[str, Any]:
    """A fault to come: `pattern`, `deliver`, `times`, for one that is late `seconds`, and for one
    that is about certain targets `rule` and `target`."""
    fault = _parsed(body)
    with _lock:
        _faults.append(fault)
    return fault.described()


@routes.route("GET", "/_glue/events/faults")
def describe(_: Any) -> list[dict[str, Any]]:
    """All faults, with how often each has struck."""
    with _lock:
        return [fault.described() for fault in _faults]


@routes.route("POST", "/_glue/events/faults/lift")
def lift(body: Any) -> dict[str, Any]:
    """Ends the fault `id`; an event that it holds is delivered."""
    with _lock:
        found = [fault for fault in _faults if fault.id == body["id"]]
        if not found:
            raise routes.Refused(f"There is no event fault {body['id']}.")
        _faults.remove(found[0])
        _release(found[0])
        return found[0].described()


def _parsed(body: Any) -> Fault:
    try:
        fault = Fault(**body)
        event_patterns.check(fault.pattern)
        if fault.times < 1 or fault.seconds < 0:
            raise routes.Refused("times has to be at least 1, and seconds not negative")
    except TypeError as error:
        raise routes.Refused(f"This is no event fault: {error}") from error
    except InvalidEventPatternException as error:
        raise routes.Refused(error.message) from error
    if fault.deliver not in DELIVERIES:
        names = ", ".join(DELIVERIES)
        raise routes.Refused(
            f"deliver is {fault.deliver!r}, and has to be one of {names}"
        )
    return fault

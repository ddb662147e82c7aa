"""Deliveries that go wrong on demand: events that come twice, late, out of order or never.

EventBridge delivers an event at least once, in no order, and not all services promise that theirs
arrive. What that does to a program can only be tested if it happens when it is wanted.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event.html
"""

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.events.exceptions import InvalidEventPatternException
from moto.events.models import EventBus

from glue import clock, event_patterns, routes
from glue.event_targets import show
from glue.event_templates import Event, as_delivered

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
    id: str = field(init=False, default_factory=lambda: str(uuid.uuid4()))
    struck: int = field(init=False, default=0)
    #: The event that waits for the next one.
    held: Arrival | None = field(init=False, default=None)

    def matches(self, event: Event) -> bool:
        return event_patterns.matches(self.pattern, as_delivered(event))

    @property
    def is_open(self) -> bool:
        # One that holds an event waits for another to go before it.
        return self.struck < self.times and self.held is None

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pattern": self.pattern,
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
        fault = next((it for it in _faults if it.is_open and it.matches(event)), None)
        if fault is None:
            _pass(bus, event)
            return
        fault.struck += 1
        if fault.deliver == TWICE:
            _pass(bus, event)
            _pass(bus, event)
        elif fault.deliver == LATE:
            late = threading.Timer(
                clock.scaled(fault.seconds), _pass_late, args=(bus, event)
            )
            late.daemon = True
            late.start()
        elif fault.deliver == OUT_OF_ORDER:
            fault.held = (bus, event)


def _pass(bus: EventBus, event: Event) -> None:
    """Sends an event, and behind it those that waited for it."""
    show(bus, event)
    for fault in _faults:
        if fault.held and fault.matches(event):
            _release(fault)


def _pass_late(bus: EventBus, event: Event) -> None:
    with _lock:
        _pass(bus, event)


def _release(fault: Fault) -> None:
    if fault.held:
        arrival, fault.held = fault.held, None
        show(*arrival)


@routes.route("POST", "/_glue/events/faults")
def order(body: Any) -> dict[str, Any]:
    """A fault to come: `pattern`, `deliver`, `times`, and for one that is late `seconds`."""
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

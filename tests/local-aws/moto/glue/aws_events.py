"""The way into the account's event buses, for AWS's own events and for users'.

Hole in moto 5.2.5: PutEvents takes `Source: aws.…` from anybody, where AWS keeps that for its
services (`NotAuthorizedForSourceException` in the entry).

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
"""

import time
import uuid
from typing import Any

from moto.events.models import EventBus, EventsBackend, events_backends

from glue import routes

Event = dict[str, Any]

#: The bus that AWS's services send to.
DEFAULT_BUS = "default"


def emit(
    account: str,
    region: str,
    source: str,
    detail_type: str,
    resources: list[str],
    detail: dict[str, Any],
    moment: float | None = None,
) -> str:
    """Puts an event of an AWS service into the account's default bus, and answers its id.

    Events of one caller reach each target in the order in which they are emitted. `moment` is
    when it happened, in seconds since the epoch; now where it is left out.
    """
    event: Event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": time.time() if moment is None else moment,
        "region": region,
        "resources": resources,
        "detail": detail,
        "ingestion-time": time.time(),
    }
    send(events_backends[account][region].event_buses[DEFAULT_BUS], event)
    return event["id"]


def send(bus: EventBus, event: Event) -> None:
    """Shows an event to every rule of a bus."""
    for rule in list(bus.rules.values()):
        rule.send_to_targets(event)


@routes.route("POST", "/_glue/events")
def emit_all(events: list[dict[str, Any]]) -> None:
    """Events of the parts that are not in this process, as the arguments of `emit`."""
    for event in events:
        emit(**event)


def _is_reserved(entry: dict[str, Any]) -> bool:
    return str(entry.get("Source") or "").lower().startswith("aws.")


def install() -> None:
    """Keeps AWS's sources for AWS."""
    put = EventsBackend.put_events

    def put_events(
        self: EventsBackend, events: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        allowed = iter(
            put(self, [entry for entry in events if not _is_reserved(entry)])
        )
        refused = {
            "ErrorCode": "NotAuthorizedForSourceException",
            "ErrorMessage": "Not authorized for the source.",
        }
        return [refused if _is_reserved(entry) else next(allowed) for entry in events]

    EventsBackend.put_events = put_events

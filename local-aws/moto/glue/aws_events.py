"""The way into the account's event buses, for AWS's own events and for users'.

Holes in moto 5.2.5: PutEvents takes `Source: aws.…` from anybody, where AWS keeps that for its
services (`NotAuthorizedForSourceException` in the entry), and a `Detail` that is no object.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
"""

import json
import time
import uuid
from typing import Any

from moto.events.models import EventsBackend, events_backends

from glue import event_faults, routes
from glue.event_templates import Event

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
    return _put(
        events_backends[account][region],
        DEFAULT_BUS,
        {
            "detail-type": detail_type,
            "source": source,
            "time": time.time() if moment is None else moment,
            "resources": resources,
            "detail": detail,
        },
    )


def _put(backend: EventsBackend, bus: str, event: Event) -> str:
    envelope = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "account": backend.account_id,
        "region": backend.region_name,
        "ingestion-time": time.time(),
    }
    event_faults.deliver(backend.describe_event_bus(bus), {**envelope, **event})
    return envelope["id"]


@routes.route("POST", "/_glue/events")
def emit_all(events: list[dict[str, Any]]) -> None:
    """Events of the parts that are not in this process, as the arguments of `emit`."""
    for event in events:
        emit(**event)


def _problem(entry: dict[str, Any]) -> tuple[str, str] | None:
    """The error code and message for an entry of PutEvents that is not taken."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return (
                "InvalidArgument",
                f"Parameter {name} is not valid. Reason: {name} is a required argument.",
            )
    if entry["Source"].lower().startswith("aws."):
        return "NotAuthorizedForSourceException", "Not authorized for the source."
    try:
        is_object = isinstance(json.loads(entry["Detail"]), dict)
    except ValueError:
        is_object = False
    return None if is_object else ("MalformedDetail", "Detail is malformed.")


def install() -> None:
    """Sends what users put the way that AWS's events go."""
    put_too_many = EventsBackend.put_events

    def put_one(backend: EventsBackend, entry: dict[str, Any]) -> dict[str, Any]:
        problem = _problem(entry)
        if problem:
            code, message = problem
            return {"ErrorCode": code, "ErrorMessage": message}
        event = {
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "time": entry.get("Time", time.time()),
            "resources": entry.get("Resources", []),
            "detail": json.loads(entry["Detail"]),
        }
        bus = backend._normalize_event_bus_arn(entry.get("EventBusName"))
        return {"EventId": _put(backend, bus, event)}

    def put_events(
        self: EventsBackend, events: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if len(events) > 10:
            return put_too_many(self, events)
        return [put_one(self, entry) for entry in events]

    EventsBackend.put_events = put_events

"""What gets into an event bus."""

import json
from typing import Any

import requests

from glue import aws_events, gateway
from tests.support import GlueTest, unique

ACCOUNT = "123456789012"
REGION = "us-east-1"


class Buses(GlueTest):
    def listen(self, pattern: dict[str, Any]) -> str:
        """The URL of a queue that gets the events that match."""
        url, arn = self.queue(unique("events"))
        rule, client = unique("rule"), self.client("events")
        client.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        client.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
        return url

    def test_an_event_of_aws_has_the_shape_of_aws_events(self) -> None:
        kind, resource = unique("Kind"), "arn:aws:x:us-east-1:123456789012:y"
        url = self.listen({"detail-type": [kind]})
        detail = {"a": {"b": [1]}}
        sent = aws_events.emit(
            ACCOUNT, REGION, "aws.x", kind, [resource], detail, moment=0.0
        )
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(
            event,
            {
                "version": "0",
                "id": sent,
                "detail-type": kind,
                "source": "aws.x",
                "account": ACCOUNT,
                "time": "1970-01-01T00:00:00Z",
                "region": REGION,
                "resources": [resource],
                "detail": detail,
            },
        )

    def test_a_user_cannot_speak_for_aws(self) -> None:
        kind = unique("Kind")
        url = self.listen({"detail-type": [kind]})
        answer = self.client("events").put_events(
            Entries=[
                {"Source": source, "DetailType": kind, "Detail": "{}"}
                for source in ("mine", "aws.ecr", "mine.too")
            ]
        )
        self.assertEqual(answer["FailedEntryCount"], 1)
        codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
        self.assertEqual(codes, [None, "NotAuthorizedForSourceException", None])
        sources: set[str] = set()
        while len(sources) < 2:
            for message in self.received(url):
                sources.add(json.loads(message["Body"])["source"])
        self.assertEqual(sources, {"mine", "mine.too"})

    def test_the_parts_outside_of_this_process_emit_events_too(self) -> None:
        kind = unique("Kind")
        url = self.listen({"detail-type": [kind]})
        event = {
            "account": ACCOUNT,
            "region": REGION,
            "source": "aws.x",
            "detail_type": kind,
            "resources": [],
            "detail": {},
            "moment": 1.5,
        }
        requests.post(
            f"{gateway.endpoint()}/_glue/events", json=[event]
        ).raise_for_status()
        self.assertEqual(
            json.loads(self.received(url)[0]["Body"])["time"], "1970-01-01T00:00:01Z"
        )

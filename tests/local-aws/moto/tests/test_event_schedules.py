"""Rules that fire by a schedule."""

import json
import os
import unittest
from typing import Any
from unittest import mock

from glue import event_schedules
from tests.support import GlueTest, unique


class Expressions(unittest.TestCase):
    def test_a_rate_is_so_many_minutes_hours_or_days(self) -> None:
        for expression, seconds in (
            ("rate(1 minute)", 60),
            ("rate(5 minutes)", 300),
            ("rate(2 hours)", 7200),
            ("rate(1 day)", 86400),
            ("cron(0 12 * * ? *)", None),
        ):
            found = event_schedules.seconds_between(expression)
            self.assertEqual(found, seconds, expression)


class Rates(GlueTest):
    def setUp(self) -> None:
        # A minute is a twentieth of a second.
        pace = mock.patch.dict(os.environ, {"LOCAL_AWS_SPEED": "1200"})
        pace.start()
        self.addCleanup(pace.stop)
        self.url, self.queue_arn = self.queue(unique("queue"))

    def rule(self, expression: str, state: str = "ENABLED", **target: Any) -> str:
        client, name = self.client("events"), unique("rule")
        arn = client.put_rule(Name=name, ScheduleExpression=expression, State=state)
        target = {"Id": "t", "Arn": self.queue_arn, **target}
        client.put_targets(Rule=name, Targets=[target])

        def remove() -> None:
            client.remove_targets(Rule=name, Ids=["t"])
            client.delete_rule(Name=name)

        self.addCleanup(remove)
        return arn["RuleArn"]

    def test_a_rate_fires_again_and_again_with_the_event_of_a_schedule(self) -> None:
        arn = self.rule("rate(1 minute)")
        events: list[dict[str, Any]] = []
        while len(events) < 2:
            events += [json.loads(it["Body"]) for it in self.received(self.url)]
        event = events[0]
        self.assertEqual(event["detail-type"], "Scheduled Event")
        self.assertEqual(event["source"], "aws.events")
        self.assertEqual(event["resources"], [arn])
        self.assertEqual(event["detail"], {})
        self.assertNotEqual(event["id"], events[1]["id"])

    def test_a_disabled_schedule_does_not_fire(self) -> None:
        self.rule("rate(1 minute)", state="DISABLED", Input='"disabled"')
        self.rule("rate(3 minutes)", Input='"enabled"')
        bodies = {it["Body"] for it in self.received(self.url)}
        self.assertEqual(bodies, {'"enabled"'})

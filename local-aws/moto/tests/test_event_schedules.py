"""Rules that fire by a schedule."""

import itertools
import json
import os
import unittest
from datetime import datetime, timezone
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from glue import cron, event_schedules
from tests.support import GlueTest, unique


class Expressions(unittest.TestCase):
    def test_a_rate_is_so_many_minutes_hours_or_days(self) -> None:
        for expression, seconds in (
            ("rate(1 minute)", 60),
            ("rate(5 minutes)", 300),
            ("rate(2 hours)", 7200),
            ("rate(1 day)", 86400),
        ):
            waits = event_schedules.waits(expression)
            found = list(itertools.islice(waits, 2))
            self.assertEqual(found, [seconds, seconds], expression)

    def times(self, expression: str) -> str:
        """The first three times behind the beginning of 2026, a Thursday."""
        moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
        schedule, found = cron.parse(expression), []
        for _ in range(3):
            moment = schedule.next_after(moment)
            found.append(f"{moment:%m-%d %H:%M}")
        return ", ".join(found)

    def test_a_cron_expression_fires_at_the_documented_times(self) -> None:
        # The examples of the documentation.
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
        for expression, times in (
            ("cron(0 10 * * ? *)", "01-01 10:00, 01-02 10:00, 01-03 10:00"),
            ("cron(15 12 * * ? *)", "01-01 12:15, 01-02 12:15, 01-03 12:15"),
            ("cron(0 18 ? * MON-FRI *)", "01-01 18:00, 01-02 18:00, 01-05 18:00"),
            ("cron(0 8 1 * ? *)", "01-01 08:00, 02-01 08:00, 03-01 08:00"),
            ("cron(0/15 * * * ? *)", "01-01 00:15, 01-01 00:30, 01-01 00:45"),
            ("cron(0/10 * ? * MON-FRI *)", "01-01 00:10, 01-01 00:20, 01-01 00:30"),
            ("cron(0/5 8-17 ? * MON-FRI *)", "01-01 08:00, 01-01 08:05, 01-01 08:10"),
        ):
            self.assertEqual(self.times(expression), times, expression)

    def test_a_cron_expression_knows_the_wildcards_of_days(self) -> None:
        for expression, times in (
            # The last day of a month, and the working day nearest to the third.
            ("cron(0 0 L * ? *)", "01-31 00:00, 02-28 00:00, 03-31 00:00"),
            ("cron(0 0 3W * ? *)", "01-02 00:00, 02-03 00:00, 03-03 00:00"),
            ("cron(0 0 1W * ? *)", "02-02 00:00, 03-02 00:00, 04-01 00:00"),
            # The last Friday of a month, its second Tuesday, and the last day of a week.
            ("cron(0 0 ? * 6L *)", "01-30 00:00, 02-27 00:00, 03-27 00:00"),
            ("cron(0 0 ? * 3#2 *)", "01-13 00:00, 02-10 00:00, 03-10 00:00"),
            ("cron(0 0 ? * L *)", "01-03 00:00, 01-10 00:00, 01-17 00:00"),
        ):
            self.assertEqual(self.times(expression), times, expression)

    def test_a_cron_expression_may_come_to_an_end(self) -> None:
        schedule = cron.parse("cron(30 6 24 DEC ? 2026,2028)")
        last = datetime(2028, 12, 24, 6, 30, tzinfo=timezone.utc)
        self.assertEqual(schedule.next_after(last.replace(year=2027)), last)
        self.assertIsNone(schedule.next_after(last))

    def test_what_is_no_cron_expression_says_what_is_wrong(self) -> None:
        for expression, problem in (
            ("cron(0 10 * * ?)", "six fields"),
            ("cron(0 10 * * * *)", "has to be ?"),
            ("cron(0 10 ? * ? *)", "has to be ?"),
            ("cron(60 10 * * ? *)", "'60' in '60'"),
            ("cron(0/0 10 * * ? *)", "'0' in '0/0'"),
            ("cron(0 10 ? * DAY *)", "'DAY'"),
        ):
            with self.assertRaises(cron.Invalid, msg=expression) as raised:
                cron.parse(expression)
            self.assertIn(problem, str(raised.exception))


class Schedules(GlueTest):
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

    def test_a_time_of_day_comes_at_the_pace_of_the_local_clock(self) -> None:
        self.rule("cron(* * * * ? *)", Input='"a minute"')
        bodies: list[str] = []
        while len(bodies) < 2:
            bodies += [it["Body"] for it in self.received(self.url)]
        self.assertEqual(set(bodies), {'"a minute"'})

    def test_an_expression_that_is_none_is_refused_and_makes_no_rule(self) -> None:
        with self.assertRaises(ClientError) as raised:
            self.rule("cron(0 10 * * * *)")
        error = raised.exception.response["Error"]
        self.assertEqual(error["Code"], "ValidationException")
        self.assertIn("Parameter ScheduleExpression is not valid", error["Message"])
        rules = self.client("events").list_rules()["Rules"]
        expressions = [rule.get("ScheduleExpression") for rule in rules]
        self.assertNotIn("cron(0 10 * * * *)", expressions)

    def test_a_disabled_schedule_does_not_fire(self) -> None:
        self.rule("rate(1 minute)", state="DISABLED", Input='"disabled"')
        self.rule("rate(3 minutes)", Input='"enabled"')
        bodies = {it["Body"] for it in self.received(self.url)}
        self.assertEqual(bodies, {'"enabled"'})

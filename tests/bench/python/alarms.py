"""Which alarms are in ALARM."""

from clients import client
from failures import AwsRequests

cloudwatch = client("cloudwatch")

BATCH = 100


class AlarmsInAlarm(Exception):
    pass


def in_alarm(names):
    """Names of those that are, in order; without a name nobody is asked."""
    found = set()
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        with AwsRequests("cloudwatch:DescribeAlarms", ", ".join(batch)):
            pages = cloudwatch.get_paginator("describe_alarms").paginate(
                AlarmNames=batch,
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                StateValue="ALARM",
            )
            for page in pages:
                for kind in ("MetricAlarms", "CompositeAlarms"):
                    found |= {alarm["AlarmName"] for alarm in page.get(kind, [])}
    return sorted(found)

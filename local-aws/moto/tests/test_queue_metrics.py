"""Metrics of queues."""

import os
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

from glue import queue_metrics
from tests.support import GlueTest, unique, wait_for


class Queues(GlueTest):
    def setUp(self) -> None:
        # A minute is a twentieth of a second.
        pace = mock.patch.dict(os.environ, {"LOCAL_AWS_SPEED": "1200"})
        pace.start()
        self.addCleanup(pace.stop)
        # The one of the served moto waits for a minute that is as long as AWS's.
        queue_metrics.install()

    def visible(self, queue: str) -> list[float]:
        now = datetime.now(timezone.utc)
        found: dict[str, Any] = self.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Minimum", "Maximum"],
        )
        datapoints = found["Datapoints"]
        return [it[end] for it in datapoints for end in ("Minimum", "Maximum")]

    def test_a_queue_tells_how_many_messages_may_be_received(self) -> None:
        name = unique("queue")
        url, _ = self.queue(name)
        wait_for(lambda: self.visible(name) == [0, 0])
        for _ in range(2):
            self.client("sqs").send_message(QueueUrl=url, MessageBody="lost")
        wait_for(lambda: self.visible(name) == [0, 2])

"""What SQS tells CloudWatch: how many messages of a queue may be received.

Hole in moto 5.2.5: queues have no metrics, so that no alarm on a dead-letter queue goes off.

SQS tells it each minute of an active queue, one that has messages or was used within six hours.
Here every queue is active. Of the other metrics none is told.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

import logging
import threading
import time

from moto.cloudwatch.models import cloudwatch_backends
from moto.sqs.models import Queue, sqs_backends

from glue import clock

logger = logging.getLogger("glue.queue_metrics")

MINUTE = 60


def _tell(queue: Queue) -> None:
    datum = {
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Dimensions": [{"Name": "QueueName", "Value": queue.name}],
        "Value": queue.approximate_number_of_messages,
        "Unit": "Count",
    }
    backend = cloudwatch_backends[queue.account_id][queue.region]
    backend.put_metric_data("AWS/SQS", [datum])


def _tell_forever() -> None:
    while True:
        time.sleep(clock.scaled(MINUTE))
        for account in list(sqs_backends.values()):
            for backend in list(account.values()):
                for queue in list(backend.queues.values()):
                    try:
                        _tell(queue)
                    except Exception:
                        # One queue must not silence the others.
                        logger.exception("the metrics of %s were not told", queue.name)


def install() -> None:
    """Lets queues have metrics."""
    threading.Thread(target=_tell_forever, daemon=True).start()

"""Step Functions: what a state machine's log group gets of its executions.

Holes in moto 5.2.5: a state machine's logging configuration is kept, and nothing is ever logged;
moto's own session for it is never made, and takes a time for what is a text.

https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
"""

import json
import logging
import uuid
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from moto.core.utils import unix_time_millis, utcnow
from moto.logs.exceptions import LogsClientError
from moto.logs.models import logs_backends
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.eval.event.logging import is_logging_enabled_for
from moto.stepfunctions.parser.backend.execution import Execution

logger = logging.getLogger("glue.execution_logs")

#: Nothing comes after these in a history, except for a redrive, which has its own.
LAST_EVENTS = (
    HistoryEventType.ExecutionAborted,
    HistoryEventType.ExecutionFailed,
    HistoryEventType.ExecutionSucceeded,
    HistoryEventType.ExecutionTimedOut,
)


@dataclass
class Configuration:
    """What moto asks of a session's configuration."""

    include_execution_data: bool


class Session:
    """One execution's way into the log group of its state machine."""

    def __init__(self, execution: Execution, level: str, include_data: bool, group: str):
        self.execution_arn = execution.exec_arn
        self.configuration = Configuration(include_data)
        self.level = level
        self.group = group
        began = utcnow().strftime("%Y-%m-%d-%H-%M")
        name = execution.state_machine.name
        self.stream = f"states/{name}/{began}/{uuid.uuid4().hex[:8]}"
        self.backend = logs_backends[execution.account_id][execution.region_name]
        self.is_over = False
        self.has_stream = False

    def log_level_filter(self, history_event_type: HistoryEventType) -> bool:
        """Whether the log gets an event of this type; asked once for each event."""
        was_over, self.is_over = self.is_over, history_event_type in LAST_EVENTS or self.is_over
        return not was_over and bool(is_logging_enabled_for(self.level, history_event_type))

    def publish_history_log(self, history_log: dict[str, Any]) -> None:
        """Writes one event. A log group that is gone keeps no execution from going on."""
        now = int(unix_time_millis())
        message = json.dumps({**history_log, "event_timestamp": str(now)}, default=str)
        try:
            if not self.has_stream:
                self.backend.create_log_stream(self.group, self.stream)
                self.has_stream = True
            self.backend.put_log_events(
                self.group, self.stream, [{"timestamp": now, "message": message}]
            )
        except (ClientError, LogsClientError) as error:
            logger.warning("%s is not logged: %s", self.execution_arn, error)


def session(execution: Execution) -> Session | None:
    """The execution's session, if its state machine has a log group."""
    configuration = execution.state_machine.loggingConfiguration
    level = configuration.get("level", "OFF")
    destinations = configuration.get("destinations") or []
    if level == "OFF" or not destinations:
        return None
    arn = destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"]
    # With a wildcard at its end, as the API wants it.
    group = arn.split(":log-group:")[1].split(":")[0]
    include_data = bool(configuration.get("includeExecutionData", False))
    return Session(execution, level, include_data, group)

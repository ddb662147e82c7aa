"""EventBridge rules that invoke functions, start state machines and fill queues.

Holes in moto 5.2.5: PutEvents answers 500 when a rule has a Lambda or Step Functions target;
`Input` and `InputPath` are ignored; a disabled rule still fires; nothing is retried and no
dead-letter queue is used.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
"""

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.awslambda.exceptions import GenericResourcNotFound, UnknownFunctionException
from moto.awslambda.models import lambda_backends
from moto.events.exceptions import ValidationException
from moto.events.models import EventBus, EventsBackend, Rule

from glue import clock, gateway
from glue.event_permissions import resource_allows, role_allows
from glue.event_templates import Event, Target, as_delivered, payload, predefined

logger = logging.getLogger("glue.event_targets")

DEFAULT_RETRY_ATTEMPTS = 185
DEFAULT_EVENT_AGE_SECONDS = 24 * 60 * 60
LONGEST_PAUSE_SECONDS = 60.0


class NotDelivered(Exception):
    """A delivery that cannot succeed however often it is tried."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


# How it is sent.


def _policy_of_function(arn: str) -> str | None:
    _, _, _, region, account = arn.split(":")[:5]
    try:
        policy: str = json.loads(lambda_backends[account][region].get_policy(arn))["Policy"]
    except (UnknownFunctionException, GenericResourcNotFound):
        return None
    return policy


def _invoke_function(rule_arn: str, target: Target, body: str) -> None:
    arn = target["Arn"]
    if not resource_allows(_policy_of_function(arn), rule_arn):
        raise NotDelivered("NO_PERMISSIONS", f"{rule_arn} may not invoke {arn}")
    gateway.client("lambda").invoke(
        FunctionName=arn, InvocationType="Event", Payload=body.encode()
    )


def _start_execution(rule_arn: str, target: Target, body: str) -> None:
    machine, role = target["Arn"], target["RoleArn"]
    if not role_allows(role, "states:StartExecution", machine):
        raise NotDelivered("NO_PERMISSIONS", f"{role} may not start {machine}")
    gateway.client("stepfunctions").start_execution(stateMachineArn=machine, input=body)


def _send_message(rule_arn: str, target: Target, body: str) -> None:
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    parameters = {"MessageGroupId": group} if group else {}
    _send_to_queue(rule_arn, target["Arn"], MessageBody=body, **parameters)


def _send_to_queue(rule_arn: str, queue_arn: str, **message: Any) -> None:
    client, url = gateway.client("sqs"), _queue_url(queue_arn)
    described = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    if not resource_allows(described.get("Attributes", {}).get("Policy"), rule_arn):
        raise NotDelivered("NO_PERMISSIONS", f"{rule_arn} may not send to {queue_arn}")
    client.send_message(QueueUrl=url, **message)


def _queue_url(arn: str) -> str:
    name = arn.split(":")[-1]
    return gateway.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]


SENDERS: dict[str, Callable[[str, Target, str], None]] = {
    "lambda": _invoke_function,
    "states": _start_execution,
    "sqs": _send_message,
}


def _service(target: Target) -> str:
    return target["Arn"].split(":")[2]


@dataclass
class Delivery:
    """An event's way to one target."""

    rule_arn: str
    target: Target
    body: str
    retries: int = 0
    #: When EventBridge got the event, by the monotonic clock.
    began: float = field(default_factory=time.monotonic)

    def attempt(self) -> bool:
        """Tries to deliver. True when that is settled: delivered, or given up."""
        try:
            SENDERS[_service(self.target)](self.rule_arn, self.target, self.body)
        except NotDelivered as error:
            self._give_up(error.code, str(error), None)
        except (BotoCoreError, ClientError) as error:
            code, final = _judged(error)
            exhausted = self._exhausted()
            if not final and not exhausted:
                return False
            self._give_up(code, str(error), exhausted)
        return True

    def insist(self) -> None:
        """Tries again until it is settled."""
        while True:
            self.retries += 1
            pause = min(2.0 ** min(self.retries, 6), LONGEST_PAUSE_SECONDS)
            time.sleep(clock.scaled(pause * random.uniform(0.5, 1.0)))
            if self.attempt():
                return

    def _exhausted(self) -> str | None:
        """The limit of the retry policy that is reached."""
        policy = self.target.get("RetryPolicy", {})
        attempts = int(policy.get("MaximumRetryAttempts", DEFAULT_RETRY_ATTEMPTS))
        age = int(policy.get("MaximumEventAgeInSeconds", DEFAULT_EVENT_AGE_SECONDS))
        if self.retries >= attempts:
            return "MaximumRetryAttempts"
        if time.monotonic() - self.began >= clock.scaled(age):
            return "MaximumEventAgeInSeconds"
        return None

    def _give_up(self, code: str, message: str, exhausted: str | None) -> None:
        """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"""
        rule_arn, target = self.rule_arn, self.target
        logger.warning(
            "%s is not delivered to %s: %s", rule_arn, target["Arn"], message
        )
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if not queue:
            return
        attributes = {
            "RULE_ARN": rule_arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": code,
            "ERROR_MESSAGE": message,
            "RETRY_ATTEMPTS": str(self.retries),
            **({"EXHAUSTED_RETRY_CONDITION": exhausted} if exhausted else {}),
        }
        try:
            _send_to_queue(
                rule_arn,
                queue,
                MessageBody=self.body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            )
        except (NotDelivered, BotoCoreError, ClientError) as error:
            logger.warning("nor to the dead-letter queue %s: %s", queue, error)


def _judged(error: Exception) -> tuple[str, bool]:
    """EventBridge's code for an error, and whether trying again is of no use."""
    if not isinstance(error, ClientError):
        return "SDK_CLIENT_ERROR", False
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    missing = ("NotFound", "DoesNotExist", "NonExistent")
    if any(word in code for word in missing):
        return "RESOURCE_NOT_FOUND", True
    if "AccessDenied" in code:
        return "NO_PERMISSIONS", True
    if status == 429 or "Throttl" in code or "TooManyRequests" in code:
        return "THROTTLING", False
    return (
        ("INTERNAL_SERVER_ERROR", False)
        if status >= 500
        else ("SDK_CLIENT_ERROR", True)
    )


# Each target gets its events one after the other, in their order. One that has to be tried again
# does not hold up those behind it.

Lane = tuple[str, str]

_lock = threading.Lock()
_waiting: dict[Lane, deque[Delivery]] = {}


def _enqueue(lane: Lane, delivery: Delivery) -> None:
    with _lock:
        served = lane in _waiting
        _waiting.setdefault(lane, deque()).append(delivery)
    if not served:
        threading.Thread(target=_serve, args=(lane,), daemon=True).start()


def _serve(lane: Lane) -> None:
    while True:
        with _lock:
            if not _waiting[lane]:
                del _waiting[lane]
                return
            delivery = _waiting[lane].popleft()
        try:
            settled = delivery.attempt()
        except Exception:
            logger.exception("%s cannot be delivered", delivery)
            continue
        if not settled:
            threading.Thread(target=delivery.insist, daemon=True).start()


#: Which targets of which rules get an event.
Choice = Callable[[Rule, Target], bool]


def every(_rule: Rule, _target: Target) -> bool:
    """All of them do."""
    return True


def show(bus: EventBus, event: Event, chosen: Choice = every) -> None:
    """Shows an event to every rule of a bus, which sends it to those targets that are chosen."""
    for rule in list(bus.rules.values()):
        if _takes(rule, event):
            send(rule, event, chosen)


def reaches(bus: EventBus, event: Event, chosen: Choice) -> bool:
    """Whether a chosen target gets the event, when it is shown."""
    return any(
        chosen(rule, target)
        for rule in list(bus.rules.values())
        if _takes(rule, event)
        for target in list(rule.targets)
    )


def _takes(rule: Rule, event: Event) -> bool:
    # A rule without a pattern is one with a schedule.
    if rule.state == "DISABLED" or rule.event_pattern.dump() is None:
        return False
    return rule.event_pattern.matches_event(as_delivered(event))


def _check_targets(targets: list[Target]) -> None:
    """What PutTargets refuses."""
    for target in targets:
        arn = target["Arn"]
        if _service(target) == "states" and not target.get("RoleArn"):
            raise ValidationException(f"RoleArn is required for target {arn}.")
        ways = {"Input", "InputPath", "InputTransformer"} & set(target)
        if len(ways) > 1:
            raise ValidationException(
                f"Only one of Input, InputPath, or InputTransformer must be provided "
                f"for target {target['Id']}."
            )
        if arn.endswith(".fifo") and not target.get("SqsParameters"):
            raise ValidationException(
                f"Parameter(s) SqsParameters must be specified for target: {target['Id']}."
            )


_send_to_others = Rule.send_to_targets


def send(rule: Rule, original_event: Event, chosen: Choice = every) -> None:
    """Sends an event to those targets of a rule that are chosen."""
    event = as_delivered(original_event)
    variables = predefined(rule, event, original_event["ingestion-time"])
    targets = [target for target in list(rule.targets) if chosen(rule, target)]
    for target in targets:
        if _service(target) in SENDERS:
            body = payload(target, event, variables)
            _enqueue((rule.arn, target["Id"]), Delivery(rule.arn, target, body))
    others = [target for target in targets if _service(target) not in SENDERS]
    if others:
        # moto's own way for the rest, on a rule that has only them.
        rest = object.__new__(type(rule))
        rest.__dict__.update(rule.__dict__, targets=others)
        _send_to_others(rest, original_event)


def install() -> None:
    """Lets rules reach the targets that moto does not know."""
    put_unchecked = EventsBackend.put_targets

    def put_targets(
        self: EventsBackend,
        name: str,
        event_bus_arn: str | None,
        targets: list[Target],
    ) -> None:
        _check_targets(targets)
        put_unchecked(self, name, event_bus_arn, targets)

    def send_to_targets(
        self: Rule, original_event: Event, transform_input: bool = True
    ) -> None:
        if _takes(self, original_event):
            send(self, original_event)

    EventsBackend.put_targets = put_targets
    Rule.send_to_targets = send_to_targets

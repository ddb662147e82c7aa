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
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from jsonpath_ng.ext import parse as parse_json_path
from moto.events.models import Rule

from glue import gateway

logger = logging.getLogger("glue.event_targets")

DEFAULT_RETRY_ATTEMPTS = 185
DEFAULT_EVENT_AGE_SECONDS = 24 * 60 * 60
LONGEST_PAUSE_SECONDS = 60.0

Event = dict[str, Any]
Target = dict[str, Any]


class NotDelivered(Exception):
    """A delivery that cannot succeed however often it is tried."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


# What a target gets.


def as_delivered(event: Event) -> Event:
    """The event as targets see it."""
    delivered = {key: value for key, value in event.items() if key != "ingestion-time"}
    moment = event.get("time")
    if isinstance(moment, int | float):
        instant = datetime.fromtimestamp(moment, timezone.utc)
        delivered["time"] = instant.strftime("%Y-%m-%dT%H:%M:%SZ")
    return delivered


def payload(target: Target, event: Event) -> str:
    """The text that is sent to `target` for `event`."""
    if "Input" in target:
        return target["Input"]
    if "InputPath" in target:
        return json.dumps(_at(target["InputPath"], event))
    if "InputTransformer" in target:
        return transformed(target["InputTransformer"], event)
    return json.dumps(event)


def _at(path: str, event: Event) -> Any:
    matches = parse_json_path(path).find(event)
    return matches[0].value if matches else None


def transformed(transformer: dict[str, Any], event: Event) -> str:
    """An input template with its placeholders filled in.

    A placeholder inside a JSON string becomes text, one outside becomes a JSON value.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    paths = transformer.get("InputPathsMap", {})
    values = {name: _at(path, event) for name, path in paths.items()}
    values["aws.events.event.json"] = event
    values["aws.events.event"] = event
    template = transformer["InputTemplate"]
    result, position, in_string = [], 0, False
    while position < len(template):
        character = template[position]
        end = template.find(">", position)
        name = template[position + 1 : end] if character == "<" and end > 0 else None
        if name in values:
            value = values[name]
            if in_string:
                text = value if isinstance(value, str) else json.dumps(value)
                result.append(json.dumps(text)[1:-1])
            else:
                result.append(json.dumps(value))
            position = end + 1
            continue
        if character == '"' and template[position - 1 : position] != "\\":
            in_string = not in_string
        result.append(character)
        position += 1
    return "".join(result)


# How it is sent.


def _statements(policy: str | None) -> list[dict[str, Any]]:
    return json.loads(policy).get("Statement", []) if policy else []


def allows(policy: str | None, rule_arn: str) -> bool:
    """Whether a resource's policy lets EventBridge in for this rule."""
    for statement in _statements(policy):
        principal = statement.get("Principal")
        service = principal.get("Service") if isinstance(principal, dict) else principal
        services = service if isinstance(service, list) else [service]
        conditions = statement.get("Condition", {})
        sources = [
            value
            for condition in conditions.values()
            for key, value in condition.items()
            if key.lower() == "aws:sourcearn"
        ]
        if (
            statement.get("Effect") == "Allow"
            and {"*", "events.amazonaws.com"} & set(services)
            and all(rule_arn == source or rule_arn in source for source in sources)
        ):
            return True
    return False


def _policy_of_function(arn: str) -> str | None:
    try:
        return gateway.client("lambda").get_policy(FunctionName=arn)["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def _invoke_function(rule_arn: str, target: Target, body: str) -> None:
    arn = target["Arn"]
    if not allows(_policy_of_function(arn), rule_arn):
        raise NotDelivered("NO_PERMISSIONS", f"{rule_arn} may not invoke {arn}")
    gateway.client("lambda").invoke(
        FunctionName=arn, InvocationType="Event", Payload=body.encode()
    )


def _start_execution(rule_arn: str, target: Target, body: str) -> None:
    gateway.client("stepfunctions").start_execution(
        stateMachineArn=target["Arn"], input=body
    )


def _send_message(rule_arn: str, target: Target, body: str) -> None:
    client, url = gateway.client("sqs"), _queue_url(target["Arn"])
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    if not allows(attributes.get("Attributes", {}).get("Policy"), rule_arn):
        raise NotDelivered("NO_PERMISSIONS", f"{rule_arn} may not send to {url}")
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    client.send_message(
        QueueUrl=url, MessageBody=body, **({"MessageGroupId": group} if group else {})
    )


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


def deliver(rule_arn: str, target: Target, body: str) -> None:
    """Sends `body` until it has arrived, or gives it to the dead-letter queue."""
    policy = target.get("RetryPolicy", {})
    attempts = int(policy.get("MaximumRetryAttempts", DEFAULT_RETRY_ATTEMPTS))
    age = int(policy.get("MaximumEventAgeInSeconds", DEFAULT_EVENT_AGE_SECONDS))
    deadline = time.monotonic() + age
    retries = 0
    while True:
        try:
            SENDERS[_service(target)](rule_arn, target, body)
            return
        except NotDelivered as error:
            _give_up(rule_arn, target, body, error.code, str(error), retries, None)
            return
        except (BotoCoreError, ClientError) as error:
            code, final = _judged(error)
            exhausted = None
            if retries >= attempts:
                exhausted = "MaximumRetryAttempts"
            elif time.monotonic() >= deadline:
                exhausted = "MaximumEventAgeInSeconds"
            if final or exhausted:
                _give_up(rule_arn, target, body, code, str(error), retries, exhausted)
                return
        retries += 1
        pause = min(2.0 ** min(retries, 6), LONGEST_PAUSE_SECONDS)
        time.sleep(pause * random.uniform(0.5, 1.0))


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


def _give_up(
    rule_arn: str,
    target: Target,
    body: str,
    code: str,
    message: str,
    retries: int,
    exhausted: str | None,
) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"""
    logger.warning("%s is not delivered to %s: %s", rule_arn, target["Arn"], message)
    queue = target.get("DeadLetterConfig", {}).get("Arn")
    if not queue:
        return
    attributes = {
        "RULE_ARN": rule_arn,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        "RETRY_ATTEMPTS": str(retries),
        **({"EXHAUSTED_RETRY_CONDITION": exhausted} if exhausted else {}),
    }
    client, url = gateway.client("sqs"), _queue_url(queue)
    described = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    if not allows(described.get("Attributes", {}).get("Policy"), rule_arn):
        logger.warning("%s may not use the dead-letter queue %s", rule_arn, queue)
        return
    client.send_message(
        QueueUrl=url,
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in attributes.items()
        },
    )


def install() -> None:
    """Lets rules reach the targets that moto does not know."""
    send_to_others = Rule.send_to_targets

    def send_to_targets(
        self: Rule, original_event: Event, transform_input: bool = True
    ) -> None:
        if self.state != "ENABLED":
            return
        if not self.event_pattern.matches_event(original_event):
            return
        event = as_delivered(original_event)
        targets = list(self.targets)
        for target in targets:
            if _service(target) in SENDERS:
                arguments = (self.arn, target, payload(target, event))
                threading.Thread(target=deliver, args=arguments, daemon=True).start()
        others = [target for target in targets if _service(target) not in SENDERS]
        if others:
            # moto's own way for the rest, on a rule that has only them.
            rest = object.__new__(type(self))
            rest.__dict__.update(self.__dict__, targets=others)
            send_to_others(rest, original_event, transform_input)

    Rule.send_to_targets = send_to_targets

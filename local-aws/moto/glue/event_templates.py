"""What a target is sent for an event: the event, a part of it, or a text made from it.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

import json
import re
from datetime import datetime, timezone
from typing import Any

from jsonpath_ng.ext import parse as parse_json_path
from moto.events.models import Rule

Event = dict[str, Any]
Target = dict[str, Any]

#: A placeholder, a character of a string that is escaped, or a quotation mark.
TOKEN = re.compile(r'<(?P<name>[^<>]+)>|\\.|"', re.DOTALL)


def timestamp(moment: float | str) -> str:
    """A time as events have it. Users may give one as text, which stays as it is."""
    if isinstance(moment, str):
        return moment
    instant = datetime.fromtimestamp(moment, timezone.utc)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_delivered(event: Event) -> Event:
    """The event as targets see it."""
    delivered = {key: value for key, value in event.items() if key != "ingestion-time"}
    return {**delivered, "time": timestamp(event["time"])}


def predefined(rule: Rule, event: Event, ingestion_time: float) -> dict[str, Any]:
    """The variables that every template has."""
    envelope = {name: value for name, value in event.items() if name != "detail"}
    return {
        "aws.events.rule-arn": rule.arn,
        "aws.events.rule-name": rule.name,
        "aws.events.event.ingestion-time": timestamp(ingestion_time),
        "aws.events.event": envelope,
        "aws.events.event.json": event,
    }


def payload(target: Target, event: Event, variables: dict[str, Any]) -> str:
    """The text that is sent to `target` for `event`, as it is delivered."""
    if "Input" in target:
        return target["Input"]
    if "InputPath" in target:
        return written(_at(target["InputPath"], event))
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event, variables)
    return written(event)


def written(value: Any) -> str:
    """JSON as EventBridge writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _at(path: str, event: Event) -> Any:
    values = [match.value for match in parse_json_path(path).find(event)]
    if "*" in path:
        return values
    return values[0] if values else None


def _transformed(
    transformer: dict[str, Any], event: Event, predefined: dict[str, Any]
) -> str:
    """An input template with its placeholders filled in.

    Outside of a string a placeholder becomes a JSON value, inside of one its text, which "is not
    escaped". What its path does not find is an empty text. A result that is JSON is minified.
    """
    paths = transformer.get("InputPathsMap", {})
    values = {name: _at(path, event) for name, path in paths.items()} | predefined
    in_string = False

    def fill(token: re.Match[str]) -> str:
        nonlocal in_string
        name = token["name"]
        if name is None:
            in_string ^= token[0] == '"'
            return token[0]
        if name not in values:
            return token[0]
        value = "" if values[name] is None else values[name]
        if in_string and isinstance(value, str):
            return value
        return written(value)

    text = TOKEN.sub(fill, transformer["InputTemplate"])
    try:
        return written(json.loads(text))
    except ValueError:
        return text

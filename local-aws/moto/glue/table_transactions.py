"""DynamoDB: transactions, and every operation on items as one step.

Holes in moto 5.2.5: requests are served by threads that see each other's work half done, and
answers are written while the items in them change; TransactWriteItems copies whole tables, ignores
`ClientRequestToken`, takes no and wrong keys, and calls a missing table a reason of the
cancellation; TransactGetItems takes 25 items at most, not 100; BatchWriteItem takes any number of
requests, and two for one item; values that no expression has are taken.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
"""

import copy
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from moto.core.responses import ActionResult
from moto.dynamodb import responses
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.exceptions import (
    DynamodbException,
    MockValidationException,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
    TransactWriteSingleOpException,
)
from moto.dynamodb.models import DynamoDBBackend, Table
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.responses import DynamoHandler

#: What reads or writes items.
OPERATIONS = (
    "get_item",
    "batch_get_item",
    "query",
    "scan",
    "transact_get_items",
    "put_item",
    "update_item",
    "delete_item",
    "batch_write_item",
    "transact_write_items",
)

MOST_ACTIONS = 100
MOST_BATCHED = 25

#: How long a ClientRequestToken is remembered.
TOKEN_SECONDS = 600.0

#: Why one action of a transaction stands in its way: code, message and item; of one that does not
#: all are None.
Reason = tuple[str | None, str | None, dict[str, Any] | None]

_lock = threading.RLock()

#: Transactions that were done, by account, region and token: their actions, and when.
_done: dict[tuple[str, str, str], tuple[str, float]] = {}


class IdempotentParameterMismatch(DynamodbException):
    """A token that another transaction has had."""

    def __init__(self) -> None:
        super().__init__(
            "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
            "The request uses the same client token as a previous, but non-identical request.",
        )


@dataclass
class Action:
    """One action of a transaction."""

    kind: str
    request: dict[str, Any]
    table: Table
    key: dict[str, Any]

    @property
    def expressions(self) -> dict[str, Any]:
        return {
            "expression_attribute_names": self.request.get("ExpressionAttributeNames"),
            "expression_attribute_values": self.request.get("ExpressionAttributeValues"),
        }

    def reason(self, backend: DynamoDBBackend) -> Reason:
        """Why its condition does not hold."""
        item = backend.get_item(self.table.name, self.key)
        condition = get_filter_expression(
            self.request.get("ConditionExpression"), *self.expressions.values()
        )
        if condition.expr(item):
            return (None, None, None)
        wanted = self.request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        old = copy.deepcopy(item.to_json()["Attributes"]) if wanted and item else None
        return ("ConditionalCheckFailed", "The conditional request failed", old)

    def carry_out(self, backend: DynamoDBBackend) -> None:
        name = self.table.name
        if self.kind == "Put":
            backend.put_item(name, self.request["Item"])
        elif self.kind == "Delete":
            backend.delete_item(name, self.key)
        elif self.kind == "Update":
            expression = self.request["UpdateExpression"]
            backend.update_item(name, self.key, expression, **self.expressions)

    def carry_out_as_rehearsed(self, backend: DynamoDBBackend, rehearsal: DynamoDBBackend) -> None:
        """An update is work, which the rehearsal has done."""
        if self.kind != "Update":
            self.carry_out(backend)
            return
        updated = rehearsal.get_item(self.table.name, self.key)
        backend.put_item(self.table.name, copy.deepcopy(updated.to_json()["Attributes"]))


def _key(table: Table, attributes: dict[str, Any]) -> dict[str, Any]:
    """The key of an item, which may have more."""
    names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
    if not all(name in attributes for name in names):
        raise MockValidationException("The provided key element does not match the schema")
    return {name: attributes[name] for name in names}


def _actions(backend: DynamoDBBackend, items: list[dict[str, Any]]) -> list[Action]:
    if not items:
        raise MockValidationException(
            "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy "
            "constraint: Member must have length greater than or equal to 1"
        )
    if len(items) > MOST_ACTIONS:
        raise TooManyTransactionsException()
    actions = []
    for item in items:
        if len(item) != 1:
            raise TransactWriteSingleOpException()
        [(kind, request)] = item.items()
        table = backend.get_table(request["TableName"])
        key = _key(table, request["Item"] if kind == "Put" else request["Key"])
        if kind != "Put" and len(request["Key"]) > len(key):
            raise MockValidationException("The provided key element does not match the schema")
        actions.append(Action(kind, request, table, key))
    targets = {(action.table.name, _canonical(action.key)) for action in actions}
    if len(targets) < len(actions):
        raise MultipleTransactionsException()
    return actions


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _rehearsal(backend: DynamoDBBackend, actions: list[Action]) -> DynamoDBBackend:
    """A backend of which the tables have copies of the items that a transaction is about, and no
    others."""
    rehearsal = copy.copy(backend)
    rehearsal.tables = dict(backend.tables)
    for table in {action.table.name: action.table for action in actions}.values():
        stage = copy.copy(table)
        stage.items, stage.stream_shard = defaultdict(dict), None
        rehearsal.tables[table.name] = stage
    for action in actions:
        item: Item | None = backend.get_item(action.table.name, action.key)
        if item is None:
            continue
        stage, item = rehearsal.tables[action.table.name], copy.deepcopy(item)
        if item.range_key is None:
            stage.items[item.hash_key] = item
        else:
            stage.items[item.hash_key][item.range_key] = item
    return rehearsal


def _cancel_unless_possible(reasons: list[Reason]) -> None:
    if any(code for code, _, _ in reasons):
        raise TransactionCanceledException(reasons)


def write(backend: DynamoDBBackend, items: list[dict[str, Any]]) -> None:
    """Carries out all actions of a transaction, or none."""
    actions = _actions(backend, items)
    _cancel_unless_possible([action.reason(backend) for action in actions])
    rehearsal = _rehearsal(backend, actions)
    reasons: list[Reason] = []
    for action in actions:
        try:
            action.carry_out(rehearsal)
            reasons.append((None, None, None))
        except DynamodbException as error:
            reasons.append(("ValidationError", error.message, None))
    _cancel_unless_possible(reasons)
    for action in actions:
        action.carry_out_as_rehearsed(backend, rehearsal)


def _once(operation: Callable[[DynamoHandler], ActionResult]) -> Callable[..., ActionResult]:
    """A transaction with a token that has been done is not done again."""

    @wraps(operation)
    def transact(self: DynamoHandler) -> ActionResult:
        token, backend = self.body.get("ClientRequestToken"), self.dynamodb_backend
        if not token:
            return operation(self)
        known, now = (backend.account_id, backend.region_name, token), time.monotonic()
        actions = _canonical(self.body["TransactItems"])
        done, when = _done.get(known, (None, 0.0))
        if done is not None and now - when < TOKEN_SECONDS:
            if done != actions:
                raise IdempotentParameterMismatch()
            return ActionResult({})
        answer = operation(self)
        _done[known] = (actions, now)
        return answer

    return transact


def _check_batch(backend: DynamoDBBackend, batches: dict[str, list[dict[str, Any]]]) -> None:
    count = sum(len(requests) for requests in batches.values())
    if not 1 <= count <= MOST_BATCHED:
        raise MockValidationException(
            f"1 validation error detected: {count} requests at 'requestItems' failed to satisfy "
            f"constraint: Member must have length from 1 to {MOST_BATCHED}"
        )
    targets = set()
    for name, requests in batches.items():
        table = backend.get_table(name)
        for request in requests:
            [one] = request.values()
            targets.add((table.name, _canonical(_key(table, one.get("Item") or one["Key"]))))
    if len(targets) < count:
        raise MockValidationException("Provided list of item keys contains duplicates")


def _check_values(request: dict[str, Any]) -> None:
    expressions = [text for name, text in request.items() if name.endswith("Expression")]
    used = set(re.findall(r":\w+", " ".join(filter(None, expressions))))
    unused = sorted(set(request.get("ExpressionAttributeValues") or {}) - used)
    if unused:
        raise MockValidationException(
            "Value provided in ExpressionAttributeValues unused in expressions: keys: "
            f"{{{', '.join(unused)}}}"
        )


def _in_one_step(operation: Callable[[DynamoHandler], ActionResult]) -> Callable[..., Any]:
    """Nobody sees the operation half done, and what it answers changes no more."""

    @wraps(operation)
    def step(self: DynamoHandler) -> ActionResult:
        for request in self.body.get("TransactItems") or [{"": self.body}]:
            for part in request.values():
                _check_values(part)
        with _lock:
            if operation.__name__ == "batch_write_item":
                _check_batch(self.dynamodb_backend, self.body["RequestItems"])
            answer = operation(self)
            answer.result.update(copy.deepcopy(answer.result))
            return answer

    return step


def install() -> None:
    """Makes operations on items atomic."""
    responses.TRANSACTION_MAX_ITEMS = MOST_ACTIONS
    DynamoDBBackend.transact_write_items = write
    DynamoHandler.transact_write_items = _once(DynamoHandler.transact_write_items)
    for name in OPERATIONS:
        setattr(DynamoHandler, name, _in_one_step(getattr(DynamoHandler, name)))

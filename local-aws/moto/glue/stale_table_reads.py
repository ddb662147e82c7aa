"""Reads of DynamoDB tables that are behind, on demand.

A read that does not ask for `ConsistentRead` may not see a write that has just been done. Hole in
moto 5.2.5: every read sees the newest write. Here a table is kept as it was before its newest
write, and such reads are answered from that. A read counts as stale where the table as it is would
have given another answer. TransactGetItems is never behind.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html
"""

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from moto.dynamodb.models import DynamoDBBackend, Table
from moto.dynamodb.responses import DynamoHandler

from glue import routes

WRITES = (
    "put_item",
    "update_item",
    "delete_item",
    "batch_write_item",
    "transact_write_items",
)
READS = ("get_item", "batch_get_item", "query", "scan")

#: An operation of moto's DynamoDB, as a method of its handler.
Operation = Callable[[DynamoHandler], Any]


@dataclass
class Plan:
    """How long reads are behind: for a while after each write, or for so many reads."""

    milliseconds: float | None = None
    reads: int | None = None
    stale: int = 0
    #: Tables by ARN, as they were before their newest write, and when that was.
    before: dict[str, tuple[Table, float]] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.milliseconds is not None or bool(self.reads)

    def earlier(self, table: Table) -> Table | None:
        """The table as reads know it, where that is not as it is."""
        known = self.before.get(table.table_arn)
        if known is None or not self.is_open:
            return None
        earlier, written = known
        late = (time.monotonic() - written) * 1000
        knows = self.milliseconds is not None and late >= self.milliseconds
        return None if knows else earlier

    def count(self) -> None:
        self.stale += 1
        if self.reads is not None:
            self.reads -= 1

    def described(self) -> dict[str, Any]:
        return {"stale": self.stale, "open": self.is_open}


_lock = threading.RLock()
_plan = Plan()


def _written_tables(body: dict[str, Any]) -> set[str]:
    """The names of the tables that a request writes to."""
    if "TransactItems" in body:
        actions = [action for item in body["TransactItems"] for action in item.values()]
        return {action["TableName"] for action in actions}
    return set(body.get("RequestItems") or [body["TableName"]])


def _lenient_tables(body: dict[str, Any]) -> set[str]:
    """The names of the tables of which a request takes older answers too."""
    requests = body.get("RequestItems") or {body["TableName"]: body}
    return {name for name, one in requests.items() if not one.get("ConsistentRead")}


def _writing(operation: Operation) -> Operation:
    """Keeps the tables that a request writes to as they are before it."""

    @wraps(operation)
    def write(self: DynamoHandler) -> Any:
        with _lock:
            if not _plan.is_open:
                return operation(self)
            tables = map(self.dynamodb_backend.get_table, _written_tables(self.body))
            before = {table.table_arn: copy.deepcopy(table) for table in tables}
            answer = operation(self)
            # Nothing was written where it failed.
            now = time.monotonic()
            _plan.before |= {arn: (table, now) for arn, table in before.items()}
            return answer

    return write


def _reading(operation: Operation) -> Operation:
    """Answers a request from the tables as they were, where it may be."""

    @wraps(operation)
    def read(self: DynamoHandler) -> Any:
        with _lock:
            current = operation(self)
            backend = self.dynamodb_backend
            tables = map(backend.get_table, _lenient_tables(self.body))
            earlier = {table.name: _plan.earlier(table) for table in tables}
            earlier = {name: table for name, table in earlier.items() if table}
            if not earlier:
                return current
            self.earlier_backend = copy.copy(backend)
            self.earlier_backend.tables = {**backend.tables, **earlier}
            try:
                answer = operation(self)
            finally:
                del self.earlier_backend
            if answer.result == current.result:
                return current
            _plan.count()
            return answer

    return read


@routes.route("PUT", "/_glue/dynamodb/stale-reads")
def begin(body: Any) -> dict[str, Any]:
    """Reads are behind from the next write on: `milliseconds` or `reads`."""
    global _plan
    if not isinstance(body, dict) or len(body) != 1:
        raise routes.Refused("Say either milliseconds or reads")
    lag, value = next(iter(body.items()))
    if lag not in ("milliseconds", "reads") or not isinstance(value, int) or value < 0:
        raise routes.Refused(f"{lag} {value!r}: say milliseconds or reads, as a number")
    with _lock:
        _plan = Plan(**{lag: value})
        return _plan.described()


@routes.route("GET", "/_glue/dynamodb/stale-reads")
def describe(_: Any) -> dict[str, Any]:
    """How many reads were behind, and whether more may be."""
    with _lock:
        return _plan.described()


@routes.route("DELETE", "/_glue/dynamodb/stale-reads")
def end(_: Any) -> dict[str, Any]:
    """No read is behind any more."""
    with _lock:
        _plan.milliseconds = _plan.reads = None
        _plan.before.clear()
        return _plan.described()


def install() -> None:
    """Lets reads be behind."""
    newest: property = DynamoHandler.dynamodb_backend

    def backend(self: DynamoHandler) -> DynamoDBBackend:
        return self.__dict__.get("earlier_backend") or newest.fget(self)

    DynamoHandler.dynamodb_backend = property(backend)
    for names, wrapped in ((WRITES, _writing), (READS, _reading)):
        for name in names:
            setattr(DynamoHandler, name, wrapped(getattr(DynamoHandler, name)))

"""Reads of DynamoDB tables that are behind on demand."""

import json
import urllib.error
import urllib.request
from typing import Any

from botocore.exceptions import ClientError

from glue import gateway
from tests.support import GlueTest, unique


class StaleTableReads(GlueTest):
    def setUp(self) -> None:
        self.dynamodb, self.table = self.client("dynamodb"), unique("table")
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.addCleanup(self.dynamodb.delete_table, TableName=self.table)
        self.addCleanup(self.control, "DELETE")
        self.put("old")

    def control(self, method: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{gateway.endpoint()}/_glue/dynamodb/stale-reads",
            method=method,
            data=json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def put(self, value: str) -> None:
        item = {"key": {"S": "k"}, "value": {"S": value}}
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def get(self, **more: Any) -> str | None:
        key = {"key": {"S": "k"}}
        answer = self.dynamodb.get_item(TableName=self.table, Key=key, **more)
        return answer["Item"]["value"]["S"] if "Item" in answer else None

    def test_the_next_reads_are_from_before_the_newest_write(self) -> None:
        report = self.control("PUT", {"reads": 2})
        self.assertEqual(report, {"stale": 0, "open": True})
        self.assertEqual(self.get(), "old", "nothing has been written yet")
        self.put("new")
        self.assertEqual([self.get() for _ in range(3)], ["old", "old", "new"])
        self.assertEqual(self.control("GET"), {"stale": 2, "open": False})

    def test_a_consistent_read_is_never_behind(self) -> None:
        self.control("PUT", {"reads": 10})
        self.put("new")
        self.assertEqual(self.get(ConsistentRead=True), "new")
        get = {"TableName": self.table, "Key": {"key": {"S": "k"}}}
        answer = self.dynamodb.transact_get_items(TransactItems=[{"Get": get}])
        self.assertEqual(answer["Responses"][0]["Item"]["value"]["S"], "new")
        self.assertEqual(self.control("GET")["stale"], 0)

    def test_every_kind_of_read_may_be_behind_every_kind_of_write(self) -> None:
        key, value = {"key": {"S": "k"}}, {"value": {"S": "old"}}
        item, table = {**key, **value}, {"TableName": self.table}
        expression = {
            "UpdateExpression": "SET #v = :v",
            "ExpressionAttributeNames": {"#v": "value"},
            "ExpressionAttributeValues": {":v": {"S": "new"}},
        }
        new = {**key, "value": {"S": "new"}}

        def query() -> list[Any]:
            answer = self.dynamodb.query(
                **table,
                KeyConditionExpression="#k = :k",
                ExpressionAttributeNames={"#k": "key"},
                ExpressionAttributeValues={":k": {"S": "k"}},
            )
            return answer["Items"]

        def batch_get() -> list[Any]:
            requests = {self.table: {"Keys": [key]}}
            answer = self.dynamodb.batch_get_item(RequestItems=requests)
            return answer["Responses"][self.table]

        reads = (
            lambda: [self.dynamodb.get_item(**table, Key=key).get("Item")],
            lambda: self.dynamodb.scan(**table)["Items"],
            query,
            batch_get,
        )
        writes = (
            lambda: self.put("new"),
            lambda: self.dynamodb.update_item(**table, Key=key, **expression),
            lambda: self.dynamodb.delete_item(**table, Key=key),
            lambda: self.dynamodb.batch_write_item(
                RequestItems={self.table: [{"PutRequest": {"Item": new}}]}
            ),
            lambda: self.dynamodb.transact_write_items(
                TransactItems=[{"Put": {**table, "Item": new}}]
            ),
        )
        for write in writes:
            self.control("DELETE")
            self.put("old")
            self.control("PUT", {"reads": len(reads)})
            write()
            for read in reads:
                self.assertEqual(read(), [item])
            self.assertEqual(self.control("GET"), {"stale": len(reads), "open": False})

    def test_a_write_that_is_refused_is_none(self) -> None:
        self.control("PUT", {"reads": 1})
        self.put("new")
        with self.assertRaises(ClientError):
            self.dynamodb.put_item(
                TableName=self.table,
                Item={"key": {"S": "k"}},
                ConditionExpression="attribute_not_exists(#k)",
                ExpressionAttributeNames={"#k": "key"},
            )
        self.assertEqual(self.get(), "old")

    def test_reads_know_of_a_write_after_a_while(self) -> None:
        self.control("PUT", {"milliseconds": 3_600_000})
        self.put("new")
        self.assertEqual(self.get(), "old")
        self.control("PUT", {"milliseconds": 0})
        self.put("newer")
        self.assertEqual(self.get(), "newer")

    def test_they_end_when_they_are_told_to(self) -> None:
        self.control("PUT", {"reads": 10})
        self.put("new")
        self.assertEqual(self.control("DELETE"), {"stale": 0, "open": False})
        self.assertEqual(self.get(), "new")

    def test_what_is_no_lag_is_refused(self) -> None:
        for body in ({}, {"reads": -1}, {"hours": 1}, {"reads": 1, "milliseconds": 1}, None):
            with self.assertRaises(urllib.error.HTTPError, msg=body) as raised:
                self.control("PUT", body)
            self.assertEqual(raised.exception.code, 400)

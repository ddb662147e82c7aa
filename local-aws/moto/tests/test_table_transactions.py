"""Transactions of DynamoDB, and operations on items that come at once."""

import threading
import time
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from glue.table_transactions import Action
from tests.support import GlueTest, unique

Write = dict[str, Any]


class Tables(GlueTest):
    def setUp(self) -> None:
        super().setUp()
        self.dynamodb, self.table = self.client("dynamodb"), unique("table")
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        self.addCleanup(self.dynamodb.delete_table, TableName=self.table)

    def key(self, sort: str) -> dict[str, Any]:
        return {"pk": {"S": "stack"}, "sk": {"S": sort}}

    def put(self, sort: str, **more: Any) -> Write:
        item = {**self.key(sort), "n": {"N": "0"}}
        return {"Put": {"TableName": self.table, "Item": item, **more}}

    def put_new(self, sort: str, **more: Any) -> Write:
        return self.put(sort, ConditionExpression="attribute_not_exists(pk)", **more)

    def add(self, sort: str, **more: Any) -> Write:
        return {
            "Update": {
                "TableName": self.table,
                "Key": self.key(sort),
                "UpdateExpression": "SET n = n + :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}},
                **more,
            }
        }

    def delete(self, sort: str, **more: Any) -> Write:
        return {"Delete": {"TableName": self.table, "Key": self.key(sort), **more}}

    def check(self, sort: str, condition: str, **more: Any) -> Write:
        return {
            "ConditionCheck": {
                "TableName": self.table,
                "Key": self.key(sort),
                "ConditionExpression": condition,
                **more,
            }
        }

    def transact(self, *writes: Write, **more: Any) -> None:
        self.dynamodb.transact_write_items(TransactItems=list(writes), **more)

    def refused(self, code: str, *writes: Write, **more: Any) -> dict[str, Any]:
        with self.assertRaises(ClientError) as raised:
            self.transact(*writes, **more)
        response = raised.exception.response
        self.assertEqual(response["Error"]["Code"], code)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], 400)
        return response

    def cancelled(self, *writes: Write) -> list[str]:
        """The codes of the reasons."""
        response = self.refused("TransactionCanceledException", *writes)
        codes = [reason["Code"] for reason in response["CancellationReasons"]]
        self.assertIn(f"[{', '.join(codes)}]", response["Error"]["Message"])
        return codes

    def items(self) -> dict[str, str]:
        """The numbers of all items."""
        found = self.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {item["sk"]["S"]: item["n"]["N"] for item in found}


class Transactions(Tables):
    def test_all_actions_are_carried_out(self) -> None:
        self.transact(self.put("a"), self.put("b"), self.put("c"))
        self.transact(
            self.add("a"),
            self.delete("b"),
            self.check("c", "n = :n", ExpressionAttributeValues={":n": {"N": "0"}}),
            self.put_new("d"),
        )
        self.assertEqual(self.items(), {"a": "1", "c": "0", "d": "0"})

    def test_one_condition_that_does_not_hold_keeps_all_from_happening(self) -> None:
        self.transact(self.put("a"), self.put("b"))
        before = self.items()
        codes = self.cancelled(
            self.add("a"), self.put_new("b"), self.delete("c"), self.put_new("d")
        )
        self.assertEqual(codes, ["None", "ConditionalCheckFailed", "None", "None"])
        self.assertEqual(self.items(), before)
        codes = self.cancelled(
            self.check("x", "attribute_exists(pk)"),
            self.delete("a", ConditionExpression="attribute_not_exists(pk)"),
        )
        self.assertEqual(codes, ["ConditionalCheckFailed"] * 2)
        self.assertEqual(self.items(), before)

    def test_an_update_that_cannot_be_made_keeps_all_from_happening(self) -> None:
        self.transact(self.put("a"))
        text = {":one": {"S": "one"}}
        codes = self.cancelled(
            self.put("b"), self.add("a", ExpressionAttributeValues=text), self.delete("c")
        )
        self.assertEqual(codes, ["None", "ValidationError", "None"])
        self.assertEqual(self.items(), {"a": "0"})

    def test_a_reason_has_the_item_as_it_was_where_that_was_asked_for(self) -> None:
        self.transact(self.put("a"), self.put("b"))
        old = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        response = self.refused(
            "TransactionCanceledException",
            self.put_new("a", **old),
            self.put_new("b"),
            self.check("c", "attribute_exists(pk)", **old),
        )
        reasons = response["CancellationReasons"]
        self.assertEqual(reasons[0]["Item"], {**self.key("a"), "n": {"N": "0"}})
        self.assertEqual(reasons[0]["Message"], "The conditional request failed")
        self.assertEqual(["Item" in reason for reason in reasons], [True, False, False])

    def test_what_is_no_transaction_is_refused(self) -> None:
        self.transact(self.put("a"))
        elsewhere = self.put("a")
        elsewhere["Put"]["TableName"] = "nowhere"
        part, more = self.delete("a"), self.delete("a")
        del part["Delete"]["Key"]["sk"]
        more["Delete"]["Key"]["other"] = {"S": "o"}
        unused = {":unused": {"S": "u"}, ":one": {"N": "1"}}
        for code, *writes in (
            ("ValidationException", self.add("a"), self.delete("a")),
            ("ValidationException", *(self.put(str(number)) for number in range(101))),
            ("ValidationException", part),
            ("ValidationException", more),
            ("ValidationException", self.add("a", ExpressionAttributeValues=unused)),
            ("ResourceNotFoundException", self.put("b"), elsewhere),
        ):
            self.refused(code, *writes)
        self.assertEqual(self.items(), {"a": "0"})
        self.transact(*(self.put(str(number)) for number in range(100)))

    def test_a_transaction_with_its_token_is_done_once(self) -> None:
        self.transact(self.put("a"))
        token = unique("token")
        for _ in range(3):
            self.transact(self.add("a"), ClientRequestToken=token)
        self.assertEqual(self.items(), {"a": "1"})
        self.refused(
            "IdempotentParameterMismatchException", self.delete("a"), ClientRequestToken=token
        )
        self.transact(self.add("a"))
        self.assertEqual(self.items(), {"a": "2"})

    def test_one_that_was_cancelled_may_be_tried_again_with_its_token(self) -> None:
        token = unique("token")
        write = self.check("a", "attribute_exists(pk)")
        self.refused("TransactionCanceledException", write, ClientRequestToken=token)
        self.transact(self.put("a"))
        self.transact(write, ClientRequestToken=token)

    def test_of_those_that_come_at_once_one_wins(self) -> None:
        won: list[str] = []
        gate = threading.Barrier(8)

        def take(holder: str) -> None:
            gate.wait()
            try:
                self.transact(self.put_new("turn"), self.put_new(holder))
                won.append(holder)
            except ClientError:
                pass

        threads = [threading.Thread(target=take, args=(f"h{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(won), 1)
        self.assertEqual(set(self.items()), {"turn", *won})

    def test_nobody_sees_half_of_a_transaction(self) -> None:
        self.transact(self.put("a"), self.put("b"))
        over, carry_out = threading.Event(), Action.carry_out

        def slowly(action: Action, backend: Any) -> None:
            carry_out(action, backend)
            time.sleep(0.002)

        patched = mock.patch.object(Action, "carry_out", slowly)
        patched.start()
        self.addCleanup(patched.stop)

        def write() -> None:
            for _ in range(60):
                self.transact(self.add("a"), self.add("b"))
            over.set()

        writer = threading.Thread(target=write)
        writer.start()
        gets = [
            {"Get": {"TableName": self.table, "Key": self.key(sort)}} for sort in ("a", "b")
        ]
        while not over.is_set():
            numbers = set(self.items().values())
            self.assertEqual(len(numbers), 1, numbers)
            got = self.dynamodb.transact_get_items(TransactItems=gets)["Responses"]
            self.assertEqual(got[0]["Item"]["n"], got[1]["Item"]["n"])
        writer.join()
        self.assertEqual(self.items(), {"a": "60", "b": "60"})


class Items(Tables):
    def test_a_batch_has_at_most_25_requests_and_one_for_an_item(self) -> None:
        def batch(*requests: dict[str, Any]) -> None:
            self.dynamodb.batch_write_item(RequestItems={self.table: list(requests)})

        def put(sort: str, number: str = "0") -> dict[str, Any]:
            return {"PutRequest": {"Item": {**self.key(sort), "n": {"N": number}}}}

        for requests in (
            [put(str(number)) for number in range(26)],
            [put("a"), put("a", "1")],
            [put("a"), {"DeleteRequest": {"Key": self.key("a")}}],
        ):
            with self.assertRaises(ClientError) as raised:
                batch(*requests)
            self.assertEqual(raised.exception.response["Error"]["Code"], "ValidationException")
        self.assertEqual(self.items(), {})
        batch(*(put(str(number)) for number in range(25)))
        self.assertEqual(len(self.items()), 25)

    def test_a_query_comes_in_pages_of_a_megabyte(self) -> None:
        for number in range(6):
            item = {**self.key(str(number)), "n": {"N": "0"}, "text": {"S": "x" * 300_000}}
            self.dynamodb.put_item(TableName=self.table, Item=item)
        pages, start = [], {}
        while True:
            page = self.dynamodb.query(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": "stack"}},
                **start,
            )
            pages.append([item["sk"]["S"] for item in page["Items"]])
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        self.assertEqual(pages, [["0", "1", "2"], ["3", "4", "5"]])

    def test_a_deletion_may_have_a_condition(self) -> None:
        self.transact(self.put("a"))
        request = {"TableName": self.table, "Key": self.key("a")}
        condition = {
            "ConditionExpression": "n = :n",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        with self.assertRaises(ClientError) as raised:
            self.dynamodb.delete_item(
                **request, **condition, ExpressionAttributeValues={":n": {"N": "1"}}
            )
        response = raised.exception.response
        self.assertEqual(response["Error"]["Code"], "ConditionalCheckFailedException")
        self.assertEqual(response["Item"]["n"], {"N": "0"})
        self.dynamodb.delete_item(
            **request, **condition, ExpressionAttributeValues={":n": {"N": "0"}}
        )
        self.assertEqual(self.items(), {})

    def test_a_value_that_no_expression_has_is_refused(self) -> None:
        values = {":pk": {"S": "stack"}, ":other": {"S": "o"}}
        with self.assertRaises(ClientError) as raised:
            self.dynamodb.query(
                TableName=self.table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues=values,
            )
        self.assertIn("unused in expressions", raised.exception.response["Error"]["Message"])

"""What moto finds once for all requests: its modules, what answers, expressions."""

from unittest import mock

from moto import backends
from moto.dynamodb.parsing import expressions

from tests.support import GlueTest, unique


class Reuse(GlueTest):
    def test_no_request_looks_for_the_modules_of_moto(self) -> None:
        with mock.patch.object(backends.os, "listdir", side_effect=AssertionError):
            self.client("dynamodb").list_tables()

    def test_an_update_expression_is_parsed_once_and_holds_for_each_item(self) -> None:
        client, table = self.client("dynamodb"), unique("counters")
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        tokens = expressions.ExpressionTokenizer.make_list
        with mock.patch.object(
            expressions.ExpressionTokenizer, "make_list", side_effect=tokens
        ) as read:
            counts = [
                client.update_item(
                    TableName=table,
                    Key={"id": {"S": name}},
                    UpdateExpression="ADD counted :more",
                    ExpressionAttributeValues={":more": {"N": more}},
                    ReturnValues="ALL_NEW",
                )["Attributes"]["counted"]["N"]
                for name, more in [("a", "1"), ("b", "5"), ("a", "2")]
            ]
        self.assertEqual(counts, ["1", "5", "3"])
        self.assertEqual(read.call_count, 1)

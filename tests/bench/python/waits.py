"""Who waits for what: task tokens of Step Functions, and the events that end a wait."""

import json
import os
import time

from clients import client
from failures import AwsRequestFailed, AwsRequests, check

dynamodb = client("dynamodb")
states = client("stepfunctions")

TABLE = os.environ["WAITS_TABLE"]
BATCH = 25
KEPT_SECONDS = 15 * 86_400
ERROR_LENGTH = 256
CAUSE_LENGTH = 32_768
OLD_TOKENS = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


def drive(function, event, awaited, told, look):
    """Stores a question before it looks; looks again for who waits where an event tells so."""
    if "detail-type" in event:
        about = told(event)
        if about is not None:
            tell(function, about, look)
        return
    check(event, ("token", "asked"))
    asked = event["asked"]
    waiting = {
        "waiter": f"{function}#{asked['execution']['id']}",
        "token": event["token"],
        "asked": asked,
        "awaits": sorted(set(awaited(asked))),
    }
    store(waiting)
    try:
        answer = look(asked)
    except Exception:
        forget(waiting)
        raise
    if answer is not None:
        succeed(waiting, answer)


def tell(function, about, look):
    """Everybody is told; then the first failure."""
    first_failure = None
    for waiting in waiting_for(function, about):
        try:
            answer = look(waiting["asked"])
            if answer is not None:
                succeed(waiting, answer)
        except AwsRequestFailed as failure:
            first_failure = first_failure or failure
        except Exception as failure:
            fail(waiting, type(failure).__name__, str(failure))
    if first_failure:
        raise first_failure


def store(waiting):
    expires = {"N": str(int(time.time()) + KEPT_SECONDS)}
    with AwsRequests("dynamodb:PutItem", TABLE):
        dynamodb.put_item(
            TableName=TABLE,
            Item={
                **key(waiting["waiter"], "token"),
                "token": {"S": waiting["token"]},
                "asked": {"S": json.dumps(waiting["asked"])},
                "awaits": {"L": [{"S": awaited} for awaited in waiting["awaits"]]},
                "expiresAt": expires,
            },
        )
    pointers = [
        {"PutRequest": {"Item": {**key(awaited, waiting["waiter"]), "expiresAt": expires}}}
        for awaited in waiting["awaits"]
    ]
    while pointers:
        batch, pointers = pointers[:BATCH], pointers[BATCH:]
        with AwsRequests("dynamodb:BatchWriteItem", TABLE):
            answer = dynamodb.batch_write_item(RequestItems={TABLE: batch})
        pointers += answer.get("UnprocessedItems", {}).get(TABLE, [])


def waiting_for(function, awaited):
    with AwsRequests("dynamodb:Query", TABLE):
        pages = dynamodb.get_paginator("query").paginate(
            TableName=TABLE,
            ConsistentRead=True,
            KeyConditionExpression="awaited = :awaited AND begins_with(waiter, :function)",
            ExpressionAttributeValues={
                ":awaited": {"S": awaited},
                ":function": {"S": f"{function}#"},
            },
            ProjectionExpression="waiter",
        )
        waiters = [item["waiter"]["S"] for page in pages for item in page["Items"]]
    found = map(of, waiters)
    return [waiting for waiting in found if waiting]


def of(waiter):
    with AwsRequests("dynamodb:GetItem", TABLE):
        answer = dynamodb.get_item(
            TableName=TABLE, Key=key(waiter, "token"), ConsistentRead=True
        )
    item = answer.get("Item")
    return item and {
        "waiter": waiter,
        "token": item["token"]["S"],
        "asked": json.loads(item["asked"]["S"]),
        "awaits": [awaited["S"] for awaited in item["awaits"]["L"]],
    }


def succeed(waiting, answer):
    output = json.dumps(answer)
    answered("SendTaskSuccess", waiting, output=output)


def fail(waiting, error, cause):
    answered("SendTaskFailure", waiting, error=error[:ERROR_LENGTH], cause=cause[:CAUSE_LENGTH])


def answered(action, waiting, **answer):
    send = {"SendTaskSuccess": states.send_task_success, "SendTaskFailure": states.send_task_failure}
    try:
        with AwsRequests(f"states:{action}", waiting["waiter"]):
            send[action](taskToken=waiting["token"], **answer)
    except AwsRequestFailed as failure:
        if failure.code not in OLD_TOKENS:
            raise
    forget(waiting)


def forget(waiting):
    """Unless a new token was stored meanwhile."""
    deletes = [
        {
            "Delete": {
                "TableName": TABLE,
                "Key": key(waiting["waiter"], "token"),
                "ConditionExpression": "#token = :token",
                "ExpressionAttributeNames": {"#token": "token"},
                "ExpressionAttributeValues": {":token": {"S": waiting["token"]}},
            }
        }
    ]
    deletes += [
        {"Delete": {"TableName": TABLE, "Key": key(awaited, waiting["waiter"])}}
        for awaited in waiting["awaits"]
    ]
    try:
        with AwsRequests("dynamodb:TransactWriteItems", TABLE):
            dynamodb.transact_write_items(TransactItems=deletes)
    except AwsRequestFailed:
        # It expires.
        pass


def key(awaited, waiter):
    return {"awaited": {"S": awaited}, "waiter": {"S": waiter}}

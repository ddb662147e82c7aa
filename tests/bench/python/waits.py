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
KEPT_SECONDS = 33 * 86_400
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
    except Exception as failure:
        if isinstance(failure, AwsRequestFailed) and not failure.refused:
            return
        forget(waiting)
        raise
    if answer is not None:
        succeed(waiting, answer)


def tell(function, about, look):
    """Everybody is told; then the first failure."""
    first_failure = None
    for waiter in waiters(function, about):
        try:
            tell_one(waiter, look)
        except AwsRequestFailed as failure:
            first_failure = first_failure or failure
    if first_failure:
        raise first_failure


def tell_one(waiter, look):
    """While one call looks, the others leave word, and it looks once more."""
    waiting = begin_to_look(waiter)
    if not waiting:
        return
    events = 1
    while events:
        try:
            answer = look(waiting["asked"])
            if answer is not None:
                succeed(waiting, answer)
                return
        except AwsRequestFailed:
            stop_looking(waiting, None)
            raise
        except Exception:
            # The state will fail with it when it asks again.
            pass
        events = stop_looking(waiting, events)


def begin_to_look(waiter):
    """What is waited for, where this is the first event since the last look."""
    try:
        with AwsRequests("dynamodb:UpdateItem", TABLE):
            counted = dynamodb.update_item(
                TableName=TABLE,
                Key=key(waiter, "token"),
                UpdateExpression="ADD events :one",
                ConditionExpression="attribute_exists(#token)",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":one": {"N": "1"}},
                ReturnValues="ALL_NEW",
            )
    except AwsRequestFailed as failure:
        if failure.code != "ConditionalCheckFailedException":
            raise
        return None
    item = counted["Attributes"]
    return plain(waiter, item) if item["events"]["N"] == "1" else None


def stop_looking(waiting, events_seen):
    """How many events there are by now, if there are more."""
    condition, values = "#token = :token", {":token": {"S": waiting["token"]}}
    if events_seen is not None:
        condition += " AND events = :seen"
        values[":seen"] = {"N": str(events_seen)}
    try:
        with AwsRequests("dynamodb:UpdateItem", TABLE):
            dynamodb.update_item(
                TableName=TABLE,
                Key=key(waiting["waiter"], "token"),
                UpdateExpression="REMOVE events",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
    except AwsRequestFailed as failure:
        if failure.code != "ConditionalCheckFailedException":
            raise
        item = failure.__cause__.response.get("Item", {})
        is_mine = item.get("token") == values[":token"] and "events" in item
        return int(item["events"]["N"]) if is_mine else None
    return None


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


def waiters(function, awaited):
    """Whose tokens are stored under what they wait for."""
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
        return [item["waiter"]["S"] for page in pages for item in page["Items"]]


def take(waiter):
    """A token that is taken out of the table, for an answer that is no function's."""
    with AwsRequests("dynamodb:DeleteItem", TABLE):
        answer = dynamodb.delete_item(
            TableName=TABLE, Key=key(waiter, "token"), ReturnValues="ALL_OLD"
        )
    return plain(waiter, answer["Attributes"]) if "Attributes" in answer else None


def plain(waiter, item):
    return {
        "waiter": waiter,
        "token": item["token"]["S"],
        "asked": json.loads(item["asked"]["S"]),
        "awaits": [awaited["S"] for awaited in item["awaits"]["L"]],
    }


def succeed(waiting, answer):
    try:
        with AwsRequests("states:SendTaskSuccess", waiting["waiter"]):
            states.send_task_success(taskToken=waiting["token"], output=json.dumps(answer))
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
                "ConditionExpression": "attribute_not_exists(#token) OR #token = :token",
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

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
KEPT_SECONDS = 17 * 86_400
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
    for waiting in waiting_for(function, about):
        try:
            tell_one(waiting, look)
        except AwsRequestFailed as failure:
            first_failure = first_failure or failure
    if first_failure:
        raise first_failure


def tell_one(waiting, look):
    """While one call looks, the others leave word, and it looks once more."""
    if not begin_to_look(waiting):
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


def begin_to_look(waiting):
    counted = update_token(
        waiting, "ADD events :one", values={":one": {"N": "1"}}, ReturnValues="UPDATED_NEW"
    )
    return bool(counted) and counted["Attributes"]["events"]["N"] == "1"


def stop_looking(waiting, events_seen):
    """How many events there are by now, if there are more."""
    if events_seen is None:
        update_token(waiting, "REMOVE events")
        return None
    seen = {":seen": {"N": str(events_seen)}}
    if update_token(waiting, "REMOVE events", "#token = :token AND events = :seen", seen):
        return None
    item = token_item(waiting["waiter"])
    is_mine = item and item["token"]["S"] == waiting["token"] and "events" in item
    return int(item["events"]["N"]) if is_mine else None


def update_token(waiting, update, condition="#token = :token", values=None, **more):
    """None where the condition fails."""
    try:
        with AwsRequests("dynamodb:UpdateItem", TABLE):
            return dynamodb.update_item(
                TableName=TABLE,
                Key=key(waiting["waiter"], "token"),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": waiting["token"]}, **(values or {})},
                **more,
            )
    except AwsRequestFailed as failure:
        if failure.code != "ConditionalCheckFailedException":
            raise
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


def token_item(waiter):
    with AwsRequests("dynamodb:GetItem", TABLE):
        answer = dynamodb.get_item(
            TableName=TABLE, Key=key(waiter, "token"), ConsistentRead=True
        )
    return answer.get("Item")


def of(waiter):
    item = token_item(waiter)
    return item and {
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

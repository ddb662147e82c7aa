"""Alarms that are evaluated, and what a change of their state sets off.

Holes in moto 5.2.5: no alarm is ever evaluated; SetAlarmState emits no event and runs no action; a
new alarm is OK where CloudWatch knows nothing of it yet; a changed alarm loses its state; composite
alarms and the history of alarms are missing; DescribeAlarms takes one filter at a time.

Periods pass at the pace of `glue.clock`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

import json
import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.cloudwatch.exceptions import ResourceNotFound, ValidationError
from moto.cloudwatch.models import (
    Alarm,
    CloudWatchBackend,
    MetricDataQuery,
    cloudwatch_backends,
)
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow

from glue import alarm_rules, aws_events, clock, gateway, metrics
from glue.alarm_evaluation import (
    ALARM,
    COMPARISONS,
    INSUFFICIENT_DATA,
    MORE_DATAPOINTS,
    OK,
    Condition,
    Datapoint,
    Judgement,
    judge,
)
from glue.metric_math import UnsupportedExpression

logger = logging.getLogger("glue.alarms")

STATES = (OK, ALARM, INSUFFICIENT_DATA)
#: Alarms are evaluated once a minute, those with a shorter period every ten seconds.
MINUTE, TEN_SECONDS = 60, 10

# Held while an alarm's state changes, so that events and actions have the order of the changes.
_changing = threading.RLock()
_actions: queue.Queue[tuple[CloudWatchBackend, Alarm, str, dict[str, Any]]] = (
    queue.Queue()
)


def _text(moment: datetime) -> str:
    """A moment as alarms write it: `2019-10-02T17:04:40.989+0000`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}+0000"


def _text_of(seconds: float) -> str:
    return _text(datetime.fromtimestamp(seconds, timezone.utc))


# Evaluation.


def _queries(alarm: Alarm) -> list[dict[str, Any]]:
    """The alarm's metric, or its metrics and expressions, as queries for metric data."""
    if not alarm.metric_data_queries:
        return [
            {
                "Id": str(uuid.uuid5(uuid.NAMESPACE_URL, alarm.alarm_arn)),
                "MetricStat": {
                    "Metric": {
                        "Namespace": alarm.namespace,
                        "MetricName": alarm.metric_name,
                        "Dimensions": _dimensions(alarm),
                    },
                    "Period": alarm.period,
                    "Stat": alarm.statistic or alarm.extended_statistic,
                    "Unit": alarm.unit,
                },
                "ReturnData": True,
            }
        ]
    return [_query(it) for it in alarm.metric_data_queries]


def _query(given: MetricDataQuery) -> dict[str, Any]:
    query: dict[str, Any] = {
        "Id": given.id,
        "Label": given.label,
        "Period": given.period,
        # Left out, it is true.
        "ReturnData": given.return_data is not False,
    }
    stat = given.metric_stat
    if stat is None:
        query["Expression"] = given.expression
        return query
    query["MetricStat"] = {
        "Metric": {
            "Namespace": stat.metric.namespace,
            "MetricName": stat.metric.metric_name,
            "Dimensions": _dimensions(stat.metric),
        },
        "Period": stat.period,
        "Stat": stat.stat,
        "Unit": stat.unit,
    }
    return query


def _dimensions(owner: Any) -> list[dict[str, str]]:
    return [{"Name": it.name, "Value": it.value} for it in owner.dimensions]


def _watched(queries: list[dict[str, Any]]) -> dict[str, Any]:
    """The query whose result is compared with the threshold."""
    returned = [it for it in queries if it["ReturnData"]]
    if len(returned) != 1:
        raise UnsupportedExpression("exactly one metric must return data")
    return returned[0]


def _condition(alarm: Alarm) -> Condition:
    if alarm.comparison_operator not in COMPARISONS:
        raise UnsupportedExpression("anomaly detection is not known here")
    periods = int(alarm.evaluation_periods)
    return Condition(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        evaluation_periods=periods,
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or periods),
        treat_missing_data=alarm.treat_missing_data or "missing",
    )


def _pace(alarm: Alarm) -> int:
    """How often an alarm is evaluated, in AWS's seconds."""
    queries = _queries(alarm)
    short = metrics.period_of(queries, queries[0]) < MINUTE
    return TEN_SECONDS if short else MINUTE


def _judged(backend: CloudWatchBackend, alarm: Alarm, now: float) -> Judgement:
    queries = _queries(alarm)
    watched = _watched(queries)
    condition = _condition(alarm)
    period = clock.scaled(metrics.period_of(queries, watched))
    # The end of the newest interval that is over, and the periods before it: they overlap those
    # of the evaluation before where a period is longer than the pace.
    pace = clock.scaled(_pace(alarm))
    end = math.floor(now / pace) * pace
    count = condition.evaluation_periods + MORE_DATAPOINTS
    starts = [end - number * period for number in range(count, 0, -1)]
    found = metrics.query(backend.observations, queries, watched["Id"], starts, period)
    datapoints = [Datapoint(start, found.get(start)) for start in starts]
    return judge(condition, datapoints, alarm.state_value)


def evaluate(backend: CloudWatchBackend, alarm: Alarm, now: float) -> None:
    """Looks at a metric alarm's data, and changes its state if they say so."""
    try:
        judgement = _judged(backend, alarm, now)
    except UnsupportedExpression as error:
        reason = f"The local AWS cannot evaluate this alarm: {error}"
        judgement = Judgement(INSUFFICIENT_DATA, reason, ())
    with _changing:
        # It may be another one of the same name by now.
        if backend.alarms.get(alarm.name) is alarm:
            if judgement.state != alarm.state_value:
                data = _reason_data(alarm, judgement, now)
                _change(backend, alarm, judgement.state, judgement.reason, data)


def _reason_data(alarm: Alarm, judgement: Judgement, now: float) -> str:
    considered = judgement.considered
    queries = _queries(alarm)
    data: dict[str, Any] = {"version": "1.0", "queryDate": _text_of(now)}
    if considered:
        data["startDate"] = _text_of(considered[-1].start)
    if not alarm.metric_data_queries:
        if alarm.unit:
            data["unit"] = alarm.unit
        data["statistic"] = queries[0]["MetricStat"]["Stat"]
    data["period"] = metrics.period_of(queries, queries[0])
    data["recentDatapoints"] = [it.value for it in reversed(considered)]
    data["threshold"] = alarm.threshold
    data["evaluatedDatapoints"] = [
        {"timestamp": _text_of(it.start), "value": it.value} for it in considered
    ]
    return json.dumps(data)


def _every_alarm() -> Iterator[tuple[CloudWatchBackend, Alarm]]:
    for account in list(cloudwatch_backends.values()):
        for backend in list(account.values()):
            for alarm in list(backend.alarms.values()):
                yield backend, alarm


def evaluate_all(pace: int, now: float) -> None:
    """Evaluates the metric alarms of a pace, in AWS's seconds."""
    for backend, alarm in _every_alarm():
        if alarm.rule is None and _pace(alarm) == pace:
            try:
                evaluate(backend, alarm, now)
            except Exception:
                # One alarm that is given wrongly must not silence the others.
                logger.exception("the alarm %s was not evaluated", alarm.name)


def _evaluate_forever() -> None:
    # In the middle of an interval: what belongs to the one before has arrived by then.
    done = {pace: _intervals(pace, time.time()) for pace in (MINUTE, TEN_SECONDS)}
    while True:
        time.sleep(clock.scaled(TEN_SECONDS) / 4)
        now = time.time()
        for pace, last in done.items():
            if _intervals(pace, now) > last:
                done[pace] = _intervals(pace, now)
                evaluate_all(pace, now)


def _intervals(pace: int, now: float) -> int:
    return math.floor(now / clock.scaled(pace) + 0.5)


# Changes of state.


def _change(
    backend: CloudWatchBackend,
    alarm: Alarm,
    state: str,
    reason: str,
    reason_data: str | None,
) -> None:
    """Gives an alarm another state, and lets the world know. Called with `_changing` held."""
    before = _state(alarm)
    alarm.update_state(reason, reason_data, state)
    alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
    after = _state(alarm)
    _record(
        backend,
        alarm,
        "StateUpdate",
        f"Alarm updated from {before['value']} to {state}",
        {"version": "1.0", "oldState": _past(before), "newState": _past(after)},
    )
    aws_events.emit(
        backend.account_id,
        backend.region_name,
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        [alarm.alarm_arn],
        {
            "alarmName": alarm.name,
            "state": after,
            "previousState": before,
            "configuration": _configuration(alarm),
        },
    )
    if alarm.actions_enabled:
        _actions.put((backend, alarm, before["value"], after))
    _evaluate_composites(backend, alarm)


def _state(alarm: Alarm) -> dict[str, Any]:
    state = {
        "value": alarm.state_value,
        "reason": alarm.state_reason,
        "timestamp": _text(alarm.state_updated_timestamp),
    }
    if alarm.state_reason_data:
        state["reasonData"] = alarm.state_reason_data
    return state


def _past(state: dict[str, Any]) -> dict[str, Any]:
    """A state as the history writes it."""
    past = {"stateValue": state["value"], "stateReason": state["reason"]}
    if "reasonData" in state:
        past["stateReasonData"] = json.loads(state["reasonData"])
    return past


def _configuration(alarm: Alarm) -> dict[str, Any]:
    configuration: dict[str, Any] = {}
    if alarm.description:
        configuration["description"] = alarm.description
    if alarm.rule is not None:
        configuration["alarmRule"] = alarm.rule
    else:
        configuration["metrics"] = [_metric(it) for it in _queries(alarm)]
    return configuration


def _metric(query: dict[str, Any]) -> dict[str, Any]:
    metric: dict[str, Any] = {"id": query["Id"], "returnData": query["ReturnData"]}
    if query.get("Label"):
        metric["label"] = query["Label"]
    if "Expression" in query:
        return {**metric, "expression": query["Expression"]}
    stat = query["MetricStat"]
    found = stat["Metric"]
    metric["metricStat"] = {
        "metric": {
            "namespace": found["Namespace"],
            "name": found["MetricName"],
            "dimensions": {it["Name"]: it["Value"] for it in found["Dimensions"]},
        },
        "period": int(stat["Period"]),
        "stat": stat["Stat"],
        **({"unit": stat["Unit"]} if stat.get("Unit") else {}),
    }
    return metric


def _record(
    backend: CloudWatchBackend,
    alarm: Alarm,
    item_type: str,
    summary: str,
    data: dict[str, Any],
) -> None:
    backend.alarm_history.append(
        {
            "AlarmName": alarm.name,
            "AlarmType": _type(alarm),
            "Timestamp": utcnow(),
            "HistoryItemType": item_type,
            "HistorySummary": summary,
            "HistoryData": json.dumps(data),
        }
    )


def _type(alarm: Alarm) -> str:
    return "MetricAlarm" if alarm.rule is None else "CompositeAlarm"


# Composite alarms.


def _evaluate_composites(backend: CloudWatchBackend, changed: Alarm) -> None:
    """Evaluates the composite alarms that look at an alarm."""
    for alarm in list(backend.alarms.values()):
        if alarm.rule and changed.name in alarm_rules.parse(alarm.rule).alarms:
            _evaluate_composite(backend, alarm, changed)


def _evaluate_composite(
    backend: CloudWatchBackend, alarm: Alarm, changed: Alarm | None
) -> None:
    rule = alarm_rules.parse(alarm.rule)

    def state_of(name: str) -> str | None:
        found = backend.alarms.get(name)
        return found.state_value if found else None

    state = ALARM if rule.holds(state_of) else OK
    if state == alarm.state_value:
        return
    if changed is None:
        reason = "The alarm rule was evaluated when the alarm was created or changed."
    else:
        moment = changed.state_updated_timestamp.strftime("%A %d %B, %Y %H:%M:%S UTC")
        reason = (
            f"{changed.alarm_arn} transitioned to {changed.state_value} at {moment}"
        )
    children = [backend.alarms[it] for it in sorted(rule.alarms) if it in backend.alarms]
    data = {
        "triggeringAlarms": [
            {
                "arn": it.alarm_arn,
                "state": {
                    "value": it.state_value,
                    "timestamp": _text(it.state_updated_timestamp),
                },
            }
            for it in children
        ]
    }
    _change(backend, alarm, state, reason, json.dumps(data))


# Actions.


def _act_forever() -> None:
    while True:
        backend, alarm, before, after = _actions.get()
        for action in _actions_for(alarm, after["value"]):
            _act(backend, alarm, action, before, after)


def _actions_for(alarm: Alarm, state: str) -> list[str]:
    return {
        ALARM: alarm.alarm_actions,
        OK: alarm.ok_actions,
        INSUFFICIENT_DATA: alarm.insufficient_data_actions,
    }[state]


def _act(
    backend: CloudWatchBackend,
    alarm: Alarm,
    action: str,
    before: str,
    after: dict[str, Any],
) -> None:
    data = {"actionState": "Succeeded", "notificationResource": action}
    summary = f"Successfully executed action {action}"
    try:
        if action.split(":")[2:3] != ["sns"]:
            raise ValueError("The local AWS knows only SNS topics as actions of alarms")
        gateway.client("sns", backend.region_name).publish(
            TopicArn=action,
            # A subject has at most 100 characters.
            Subject=f'{after["value"]}: "{alarm.name}" in {backend.region_name}'[:100],
            Message=json.dumps(_notification(backend, alarm, before, after)),
        )
    except (BotoCoreError, ClientError, ValueError) as error:
        data = {**data, "actionState": "Failed", "error": str(error)}
        summary = f"Failed to execute action {action}. Received error: {error}"
        logger.warning("%s: %s", alarm.name, summary)
    _record(backend, alarm, "Action", summary, data)


def _notification(
    backend: CloudWatchBackend, alarm: Alarm, before: str, after: dict[str, Any]
) -> dict[str, Any]:
    notification = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": backend.account_id,
        "AlarmConfigurationUpdatedTimestamp": _text(
            alarm.configuration_updated_timestamp
        ),
        "NewStateValue": after["value"],
        "NewStateReason": after["reason"],
        "StateChangeTime": after["timestamp"],
        "Region": backend.region_name,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
    }
    if alarm.rule is not None:
        return {**notification, "AlarmRule": alarm.rule}
    return {**notification, "Trigger": _trigger(alarm)}


def _trigger(alarm: Alarm) -> dict[str, Any]:
    trigger: dict[str, Any] = {
        "Period": alarm.period,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm or alarm.evaluation_periods,
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": alarm.threshold,
        "TreatMissingData": alarm.treat_missing_data or "missing",
    }
    if alarm.metric_data_queries:
        return {**trigger, "Metrics": _queries(alarm)}
    extended = alarm.extended_statistic is not None
    return {
        **trigger,
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "StatisticType": "ExtendedStatistic" if extended else "Statistic",
        "Statistic": alarm.extended_statistic or alarm.statistic.upper(),
        "Unit": alarm.unit,
        "Dimensions": [
            {"name": it.name, "value": it.value} for it in alarm.dimensions
        ],
    }


# The API.


def _put_composite_alarm(self: CloudWatchResponse) -> ActionResult:
    backend, name = self.cloudwatch_backend, self._get_param("AlarmName")
    if self._get_param("ActionsSuppressor"):
        raise ValidationError("The local AWS does not suppress actions of alarms")
    text = self._get_param("AlarmRule")
    try:
        rule = alarm_rules.parse(text)
    except alarm_rules.InvalidRule:
        raise ValidationError(f"AlarmRule cannot be read: {text}")
    unknown = sorted(rule.alarms - backend.alarms.keys())
    if unknown:
        raise ValidationError(f"AlarmRule names alarms that do not exist: {unknown}")
    backend.put_metric_alarm(
        name=name,
        namespace=None,
        metric_name=None,
        comparison_operator=None,
        evaluation_periods=None,
        period=None,
        threshold=None,
        statistic=None,
        dimensions=[],
        description=self._get_param("AlarmDescription"),
        alarm_actions=self._get_param("AlarmActions", []),
        ok_actions=self._get_param("OKActions", []),
        insufficient_data_actions=self._get_param("InsufficientDataActions", []),
        actions_enabled=self._get_bool_param("ActionsEnabled"),
        rule=text,
        tags=self._get_param("Tags", []),
    )
    return EmptyResult()


def _describe_alarms(self: CloudWatchResponse) -> ActionResult:
    names = self._get_param("AlarmNames", [])
    prefix = self._get_param("AlarmNamePrefix") or ""
    state = self._get_param("StateValue")
    action = self._get_param("ActionPrefix") or ""
    # Composite alarms are described only if they are asked for.
    types = self._get_param("AlarmTypes", []) or ["MetricAlarm"]
    found = [
        alarm
        for alarm in self.cloudwatch_backend.describe_alarms()
        if (not names or alarm.name in names)
        and alarm.name.startswith(prefix)
        and state in (None, alarm.state_value)
        and (not action or any(it.startswith(action) for it in alarm.alarm_actions))
        and _type(alarm) in types
    ]
    return ActionResult(
        {
            "MetricAlarms": [it for it in found if it.rule is None],
            "CompositeAlarms": [it for it in found if it.rule is not None],
        }
    )


def _describe_alarm_history(self: CloudWatchResponse) -> ActionResult:
    name, item_type = self._get_param("AlarmName"), self._get_param("HistoryItemType")
    start, end = self._get_param("StartDate"), self._get_param("EndDate")
    types = self._get_param("AlarmTypes", []) or ["MetricAlarm"]
    items = [
        item
        for item in list(self.cloudwatch_backend.alarm_history)
        if name in (None, item["AlarmName"])
        and item_type in (None, item["HistoryItemType"])
        and (start is None or item["Timestamp"] >= start)
        and (end is None or item["Timestamp"] <= end)
        and item["AlarmType"] in types
    ]
    if self._get_param("ScanBy") != "TimestampAscending":
        items.reverse()
    return ActionResult({"AlarmHistoryItems": items[: self._get_param("MaxRecords")]})


def _set_alarm_state(
    self: CloudWatchBackend,
    alarm_name: str,
    reason: str,
    reason_data: str | None,
    state_value: str,
) -> None:
    if state_value not in STATES:
        raise ValidationError(
            "1 validation error detected: "
            f"Value '{state_value}' at 'stateValue' failed to satisfy constraint: "
            "Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]"
        )
    if reason_data is not None:
        try:
            json.loads(reason_data)
        except ValueError:
            raise ValidationError("StateReasonData must be JSON")
    with _changing:
        alarm = self.alarms.get(alarm_name)
        if alarm is None:
            raise ResourceNotFound
        if alarm.state_value == state_value:
            alarm.update_state(reason, reason_data, state_value)
        else:
            _change(self, alarm, state_value, reason, reason_data)


def _patch_backend() -> None:
    initialise = CloudWatchBackend.__init__
    put = CloudWatchBackend.put_metric_alarm
    delete = CloudWatchBackend.delete_alarms

    def with_history(self: CloudWatchBackend, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.alarm_history: list[dict[str, Any]] = []

    def put_metric_alarm(self: CloudWatchBackend, **settings: Any) -> Alarm:
        with _changing:
            before = self.alarms.get(settings["name"])
            alarm = put(self, **settings)
            if before is None:
                alarm.state_value = INSUFFICIENT_DATA
                alarm.state_reason_data = None
                alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
            else:
                # An alarm that is changed keeps its state until it is evaluated.
                alarm.state_value = before.state_value
                alarm.state_reason = before.state_reason
                alarm.state_reason_data = before.state_reason_data
                alarm.state_updated_timestamp = before.state_updated_timestamp
                alarm.state_transitioned_timestamp = before.state_transitioned_timestamp
            done = "created" if before is None else "updated"
            _record(
                self,
                alarm,
                "ConfigurationUpdate",
                f'Alarm "{alarm.name}" {done}',
                {"version": "1.0", "type": "Create" if before is None else "Update"},
            )
            if alarm.rule is not None:
                _evaluate_composite(self, alarm, None)
            return alarm

    def delete_alarms(self: CloudWatchBackend, alarm_names: list[str]) -> None:
        with _changing:
            for alarm in self.get_alarms_by_alarm_names(alarm_names):
                _record(
                    self,
                    alarm,
                    "ConfigurationUpdate",
                    f'Alarm "{alarm.name}" deleted',
                    {"version": "1.0", "type": "Delete"},
                )
            delete(self, alarm_names)

    CloudWatchBackend.__init__ = with_history
    CloudWatchBackend.put_metric_alarm = put_metric_alarm
    CloudWatchBackend.delete_alarms = delete_alarms
    CloudWatchBackend.set_alarm_state = _set_alarm_state


def install() -> None:
    """Evaluates alarms from now on."""
    _patch_backend()
    CloudWatchResponse.put_composite_alarm = _put_composite_alarm
    CloudWatchResponse.describe_alarms = _describe_alarms
    CloudWatchResponse.describe_alarm_history = _describe_alarm_history
    for work in (_evaluate_forever, _act_forever):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from moto.cloudwatch.models import cloudwatch_backends

from glue import alarms, clock
from glue.stack_parameters import parsed
from tests.support import GlueTest, unique, wait_for

INFRA = Path(__file__).parents[3] / "infra"
NAMESPACE = "AWS/ApplicationELB"
BALANCER = [{"Name": "LoadBalancer", "Value": "app/web/1"}]
GROUP = [{"Name": "TargetGroup", "Value": "targetgroup/blue/2"}, *BALANCER]


class AlarmTest(GlueTest):
    def setUp(self) -> None:
        self.cloudwatch = self.client("cloudwatch")
        self.now = datetime.now(timezone.utc)
        # Of each test, so that they do not see each other's data.
        self.metric = unique("HTTPCode_Target_5XX_Count")

    def put_alarm(self, **change: Any) -> str:
        name = unique("alarm")
        settings = {
            "AlarmName": name,
            "Namespace": NAMESPACE,
            "MetricName": self.metric,
            "Dimensions": BALANCER,
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "AlarmDescription": "too many errors",
            **change,
        }
        if "Metrics" in change or "ExtendedStatistic" in change:
            del settings["Statistic"]
        if "Metrics" in change:
            for key in ("Namespace", "MetricName", "Dimensions", "Period"):
                del settings[key]
        self.cloudwatch.put_metric_alarm(**settings)
        self.addCleanup(self.cloudwatch.delete_alarms, AlarmNames=[name])
        return name

    def put(
        self, *values: float, ago: float = 30, dimensions: Any = None, name: str = ""
    ) -> None:
        datum = {
            "MetricName": name or self.metric,
            "Dimensions": dimensions or BALANCER,
            "Timestamp": self.now - timedelta(seconds=ago),
            "Values": list(values),
        }
        self.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[datum])

    def evaluate(self, name: str, later: float = 60.0) -> dict[str, Any]:
        """The alarm after an evaluation so many seconds from now."""
        backend = cloudwatch_backends["123456789012"]["us-east-1"]
        alarms.evaluate(backend, backend.alarms[name], time.time() + later)
        return self.described(name)

    def described(self, name: str) -> dict[str, Any]:
        answer = self.cloudwatch.describe_alarms(
            AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        return (answer["MetricAlarms"] + answer["CompositeAlarms"])[0]

    def events_of(self, alarm: str) -> str:
        """A queue that gets an alarm's state changes."""
        url, arn = self.queue(unique("queue"))
        rule, events = unique("rule"), self.client("events")
        pattern = {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": [alarm]},
        }
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=rule, Targets=[{"Id": "t", "Arn": arn}])
        return url


class Evaluation(AlarmTest):
    def test_a_new_alarm_knows_nothing(self) -> None:
        described = self.described(self.put_alarm())
        self.assertEqual(described["StateValue"], "INSUFFICIENT_DATA")
        self.assertEqual(
            described["StateReason"], "Unchecked: Initial alarm creation"
        )

    def test_data_make_the_state_and_its_reason(self) -> None:
        alarm = self.put_alarm()
        self.put(4, 3)
        described = self.evaluate(alarm)
        self.assertEqual(described["StateValue"], "ALARM")
        self.assertRegex(described["StateReason"], r"^Threshold Crossed: 1 .*\[7.0 \(")
        data = json.loads(described["StateReasonData"])
        self.assertEqual(data["recentDatapoints"], [7.0])
        self.assertEqual((data["period"], data["threshold"]), (60, 5.0))
        self.assertEqual(data["statistic"], "Sum")

    def test_an_alarm_goes_back_when_the_data_do(self) -> None:
        alarm = self.put_alarm()
        self.put(9)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")
        self.put(1, ago=-60)
        self.assertEqual(self.evaluate(alarm, 150)["StateValue"], "OK")

    def test_without_data_the_treatment_of_missing_data_decides(self) -> None:
        for treatment, state in {
            "notBreaching": "OK",
            "breaching": "ALARM",
            "missing": "INSUFFICIENT_DATA",
            "ignore": "INSUFFICIENT_DATA",
        }.items():
            with self.subTest(treatment):
                alarm = self.put_alarm(TreatMissingData=treatment)
                self.assertEqual(self.evaluate(alarm)["StateValue"], state)

    def test_only_the_series_with_exactly_the_dimensions_counts(self) -> None:
        alarm = self.put_alarm(TreatMissingData="notBreaching")
        self.put(100, dimensions=GROUP)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")

    def test_several_datapoints_may_be_wanted(self) -> None:
        alarm = self.put_alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
        self.put(9, ago=150)
        self.put(1, ago=90)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        self.put(9, ago=30)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")

    def test_a_percentile(self) -> None:
        alarm = self.put_alarm(ExtendedStatistic="p85")
        self.put(*range(1, 11))
        described = self.evaluate(alarm)
        data = json.loads(described["StateReasonData"])
        self.assertEqual(data["recentDatapoints"], [9.0])
        self.assertEqual(data["statistic"], "p85")

    def test_a_unit_that_the_data_do_not_have_finds_nothing(self) -> None:
        alarm = self.put_alarm(Unit="Seconds")
        self.put(9)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "INSUFFICIENT_DATA")

    def test_periods_pass_at_the_pace_of_the_clock(self) -> None:
        alarm = self.put_alarm(Period=300)
        self.put(3, ago=1)
        self.put(3, ago=6)
        # Five minutes are 15 seconds, and this was before them.
        self.put(100, ago=40)
        with mock.patch.object(clock, "speed", return_value=20.0):
            described = self.evaluate(alarm, later=3.0)
        self.assertEqual(described["StateValue"], "ALARM")
        self.assertIn("[6.0 (", described["StateReason"])

    def expression(self, expression: str) -> str:
        def stat(identifier: str, name: str) -> dict[str, Any]:
            metric = {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": BALANCER}
            stat = {"Metric": metric, "Period": 60, "Stat": "Sum"}
            return {"Id": identifier, "MetricStat": stat, "ReturnData": False}

        return self.put_alarm(
            Metrics=[
                {"Id": "rate", "Expression": expression, "Label": "error rate"},
                stat("errors", self.metric),
                stat("requests", self.metric + "All"),
            ]
        )

    def test_a_ratio_of_two_metrics(self) -> None:
        alarm = self.expression("100 * FILL(errors, 0) / requests")
        self.put(100, name=self.metric + "All")
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        self.put(9)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")
        self.assertEqual(len(self.described(alarm)["Metrics"]), 3)

    def test_an_expression_that_is_not_known_is_said_to_be(self) -> None:
        alarm = self.expression("RUNNING_SUM(errors)")
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="OK", StateReason="to see it change"
        )
        described = self.evaluate(alarm)
        self.assertEqual(described["StateValue"], "INSUFFICIENT_DATA")
        self.assertIn("RUNNING_SUM", described["StateReason"])

    def test_a_changed_alarm_keeps_its_state(self) -> None:
        alarm = self.put_alarm()
        self.put(9)
        self.evaluate(alarm)
        self.put_alarm(AlarmName=alarm, Threshold=100)
        self.assertEqual(self.described(alarm)["StateValue"], "ALARM")
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")


def _chosen(value: Any, conditions: dict[str, bool]) -> Any:
    """A part of a template with what its conditions choose."""
    if isinstance(value, dict) and "Fn::If" in value:
        condition, then, otherwise = value["Fn::If"]
        return _chosen(then if conditions[condition] else otherwise, conditions)
    if isinstance(value, dict):
        return {key: _chosen(member, conditions) for key, member in value.items()}
    if isinstance(value, list):
        items = [_chosen(item, conditions) for item in value]
        return [item for item in items if item != {"Ref": "AWS::NoValue"}]
    return value


class AlarmsOfTheApplication(AlarmTest):
    """Those of `infra/cluster.yml`, on the metrics of a load balancer of each test's own."""

    def setUp(self) -> None:
        super().setUp()
        self.balancer = [{"Name": "LoadBalancer", "Value": unique("app/shop")}]

    def alarm(self, resource: str, threshold: float, is_in_service: bool = True) -> str:
        template = parsed((INFRA / "cluster.yml").read_text())
        properties = template["Resources"][resource]["Properties"]
        metrics = json.loads(json.dumps(properties["Metrics"]))
        metrics = _chosen(metrics, {"IsInService": is_in_service})
        for metric in metrics:
            if "MetricStat" in metric:
                metric["MetricStat"]["Metric"]["Dimensions"] = self.balancer
        kept = ("EvaluationPeriods", "ComparisonOperator", "TreatMissingData")
        settings = {key: properties[key] for key in kept}
        return self.put_alarm(Metrics=metrics, Threshold=threshold, **settings)

    def minutes(self, name: str, *values: float) -> None:
        """Each of the last three minutes has these values of a metric."""
        for ago in (30, 90, 150):
            self.put(*values, name=name, dimensions=self.balancer, ago=ago)

    def test_errors_of_the_load_balancer_count_as_those_of_the_application(self) -> None:
        alarm = self.alarm("ErrorAlarm", 10)
        self.minutes("HTTPCode_Target_5XX_Count", 4)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        self.minutes("HTTPCode_ELB_5XX_Count", 6)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")

    def test_the_load_balancers_errors_are_enough(self) -> None:
        alarm = self.alarm("ErrorAlarm", 10)
        self.minutes("HTTPCode_ELB_5XX_Count", 10)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")

    def test_before_there_is_a_task_the_load_balancers_errors_are_none(self) -> None:
        alarm = self.alarm("ErrorAlarm", 10, is_in_service=False)
        self.minutes("HTTPCode_ELB_5XX_Count", 1000)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        self.minutes("HTTPCode_Target_5XX_Count", 10)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")

    def test_a_slow_request_among_few_is_no_slow_application(self) -> None:
        alarm = self.alarm("LatencyAlarm", 2)
        self.minutes("TargetResponseTime", 5)
        self.minutes("RequestCount", 99)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        self.minutes("RequestCount", 1)
        self.assertEqual(self.evaluate(alarm)["StateValue"], "ALARM")

    def test_without_requests_nothing_is_slow_or_wrong(self) -> None:
        for resource in ("ErrorAlarm", "LatencyAlarm"):
            alarm = self.alarm(resource, 1)
            self.assertEqual(self.evaluate(alarm)["StateValue"], "OK", resource)


class StateChanges(AlarmTest):
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    def test_a_change_is_an_event_in_the_documented_shape(self) -> None:
        alarm = self.put_alarm()
        url = self.events_of(alarm)
        self.put(9)
        described = self.evaluate(alarm)
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(event["source"], "aws.cloudwatch")
        self.assertEqual(event["resources"], [described["AlarmArn"]])
        detail = event["detail"]
        self.assertEqual(
            set(detail), {"alarmName", "configuration", "previousState", "state"}
        )
        self.assertEqual(
            set(detail["state"]), {"reason", "reasonData", "timestamp", "value"}
        )
        self.assertEqual(detail["state"]["value"], "ALARM")
        self.assertEqual(detail["state"]["reason"], described["StateReason"])
        self.assertRegex(
            detail["state"]["timestamp"], r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}\+0000$"
        )
        self.assertEqual(
            json.loads(detail["state"]["reasonData"])["recentDatapoints"], [9.0]
        )
        self.assertEqual(detail["previousState"]["value"], "INSUFFICIENT_DATA")
        self.assertEqual(detail["configuration"]["description"], "too many errors")
        (metric,) = detail["configuration"]["metrics"]
        self.assertEqual(metric.pop("id").count("-"), 4)
        self.assertEqual(
            metric,
            {
                "metricStat": {
                    "metric": {
                        "dimensions": {"LoadBalancer": "app/web/1"},
                        "name": self.metric,
                        "namespace": NAMESPACE,
                    },
                    "period": 60,
                    "stat": "Sum",
                },
                "returnData": True,
            },
        )

    def test_a_state_that_was_set_is_an_event_and_lasts_until_the_next_evaluation(
        self,
    ) -> None:
        alarm = self.put_alarm(TreatMissingData="notBreaching")
        url = self.events_of(alarm)
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="ALARM", StateReason="a drill"
        )
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(event["detail"]["state"]["reason"], "a drill")
        self.assertEqual(self.evaluate(alarm)["StateValue"], "OK")
        event = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(event["detail"]["previousState"]["reason"], "a drill")

    def test_what_does_not_change_is_no_event(self) -> None:
        alarm = self.put_alarm(TreatMissingData="notBreaching")
        url = self.events_of(alarm)
        for _ in range(3):
            self.evaluate(alarm)
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="OK", StateReason="it is so already"
        )
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="ALARM", StateReason="the next event"
        )
        values: list[str] = []

        def both() -> bool:
            for message in self.received(url):
                values.append(json.loads(message["Body"])["detail"]["state"]["value"])
            return len(values) >= 2

        wait_for(both)
        self.assertEqual(values, ["OK", "ALARM"])

    def topic(self) -> tuple[str, str]:
        """A topic's ARN, and the URL of a queue that gets its messages."""
        sns = self.client("sns")
        topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
        url, arn = self.queue(unique("queue"))
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        return topic, url

    def test_topics_are_told_of_their_state(self) -> None:
        (alarmed, alarms_url), (fine, fine_url) = self.topic(), self.topic()
        alarm = self.put_alarm(AlarmActions=[alarmed], OKActions=[fine])
        self.put(9)
        self.evaluate(alarm)
        message = json.loads(self.received(alarms_url)[0]["Body"])
        self.assertEqual(message["AlarmName"], alarm)
        self.assertEqual(message["NewStateValue"], "ALARM")
        self.assertEqual(message["OldStateValue"], "INSUFFICIENT_DATA")
        self.assertEqual(message["Trigger"]["MetricName"], self.metric)
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="OK", StateReason="over"
        )
        message = json.loads(self.received(fine_url)[0]["Body"])
        self.assertEqual(message["NewStateReason"], "over")

    def test_disabled_actions_are_not_run(self) -> None:
        topic, url = self.topic()
        quiet = self.put_alarm(AlarmActions=[topic], ActionsEnabled=False)
        loud = self.put_alarm(AlarmActions=[topic])
        for alarm in (quiet, loud):
            self.cloudwatch.set_alarm_state(
                AlarmName=alarm, StateValue="ALARM", StateReason="a drill"
            )
        # Actions are run one after the other: the first would be there before the second.
        message = json.loads(self.received(url)[0]["Body"])
        self.assertEqual(message["AlarmName"], loud)

    def test_an_action_of_an_unknown_kind_is_a_failure_in_the_history(self) -> None:
        alarm = self.put_alarm(AlarmActions=["arn:aws:automate:us-east-1:ec2:stop"])
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue="ALARM", StateReason="a drill"
        )

        def failed() -> list[str]:
            answer = self.cloudwatch.describe_alarm_history(
                AlarmName=alarm, HistoryItemType="Action"
            )
            return [it["HistorySummary"] for it in answer["AlarmHistoryItems"]]

        self.assertIn("Failed to execute action", wait_for(failed)[0])

    def test_the_history_tells_all_changes_the_newest_first(self) -> None:
        alarm = self.put_alarm()
        for state in ("ALARM", "OK"):
            self.cloudwatch.set_alarm_state(
                AlarmName=alarm, StateValue=state, StateReason="a drill"
            )
        answer = self.cloudwatch.describe_alarm_history(AlarmName=alarm)
        items = answer["AlarmHistoryItems"]
        self.assertEqual(
            [it["HistorySummary"] for it in items],
            [
                "Alarm updated from ALARM to OK",
                "Alarm updated from INSUFFICIENT_DATA to ALARM",
                f'Alarm "{alarm}" created',
            ],
        )
        data = json.loads(items[0]["HistoryData"])
        self.assertEqual(data["oldState"]["stateValue"], "ALARM")
        self.assertEqual(data["newState"]["stateReason"], "a drill")


class CompositeAlarms(AlarmTest):
    def put_composite(self, rule: str) -> str:
        name = unique("composite")
        self.cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule=rule)
        self.addCleanup(self.cloudwatch.delete_alarms, AlarmNames=[name])
        return name

    def set(self, alarm: str, state: str) -> None:
        self.cloudwatch.set_alarm_state(
            AlarmName=alarm, StateValue=state, StateReason="a drill"
        )

    def test_its_state_follows_the_alarms_of_its_rule(self) -> None:
        errors, latency = self.put_alarm(), self.put_alarm()
        composite = self.put_composite(f"ALARM({errors}) AND NOT ALARM({latency})")
        self.assertEqual(self.described(composite)["StateValue"], "OK")
        url = self.events_of(composite)
        self.set(errors, "ALARM")
        self.assertEqual(self.described(composite)["StateValue"], "ALARM")
        detail = json.loads(self.received(url)[0]["Body"])["detail"]
        rule = {"alarmRule": f"ALARM({errors}) AND NOT ALARM({latency})"}
        self.assertEqual(detail["configuration"], rule)
        self.assertRegex(
            detail["state"]["reason"],
            rf"^arn:aws:cloudwatch:.*{errors} transitioned to ALARM at ",
        )
        triggering = json.loads(detail["state"]["reasonData"])["triggeringAlarms"]
        self.assertIn("ALARM", [it["state"]["value"] for it in triggering])
        self.set(latency, "ALARM")
        self.assertEqual(self.described(composite)["StateValue"], "OK")

    def test_it_is_described_only_if_asked_for(self) -> None:
        composite = self.put_composite(f"ALARM({self.put_alarm()})")
        answer = self.cloudwatch.describe_alarms(AlarmNames=[composite])
        self.assertEqual(answer["MetricAlarms"] + answer["CompositeAlarms"], [])
        self.assertIn(composite, self.described(composite)["AlarmName"])

    def test_a_rule_that_cannot_hold_is_refused(self) -> None:
        for rule in ("ALARM(no-such-alarm)", "ALARM("):
            with self.subTest(rule):
                with self.assertRaisesRegex(Exception, "ValidationError.*AlarmRule"):
                    self.put_composite(rule)


class Statistics(AlarmTest):
    def statistics(self, dimensions: Any, **more: Any) -> list[dict[str, Any]]:
        answer = self.cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=self.metric,
            Dimensions=dimensions,
            StartTime=self.now - timedelta(minutes=10),
            EndTime=self.now + timedelta(minutes=1),
            **{"Period": 3600, "Statistics": ["Sum", "Average"], **more},
        )
        return answer["Datapoints"]

    def test_a_load_balancer_is_not_the_sum_of_its_target_groups(self) -> None:
        self.put(1, 2)
        self.put(100, dimensions=GROUP)
        points = self.statistics(BALANCER)
        self.assertEqual(sum(it["Sum"] for it in points), 3.0)
        points = self.statistics(GROUP)
        self.assertEqual(sum(it["Sum"] for it in points), 100.0)

    def test_percentiles(self) -> None:
        self.put(*range(1, 101), ago=0)
        points = self.statistics(
            BALANCER, Statistics=["Maximum"], ExtendedStatistics=["p99", "p50"]
        )
        self.assertEqual(
            points[0]["ExtendedStatistics"], {"p99": 99.0, "p50": 50.0}
        )
        self.assertEqual(points[0]["Maximum"], 100.0)

    def test_metric_data_are_computed_from_several_metrics(self) -> None:
        self.put(5, ago=0)
        self.put(20, ago=0, dimensions=GROUP)

        def stat(identifier: str, dimensions: Any) -> dict[str, Any]:
            metric = {
                "Namespace": NAMESPACE,
                "MetricName": self.metric,
                "Dimensions": dimensions,
            }
            return {
                "Id": identifier,
                "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"},
                "ReturnData": False,
            }

        answer = self.cloudwatch.get_metric_data(
            MetricDataQueries=[
                {"Id": "ratio", "Expression": "one / all * 100"},
                stat("one", BALANCER),
                stat("all", GROUP),
            ],
            StartTime=self.now - timedelta(minutes=5),
            EndTime=self.now + timedelta(minutes=1),
        )
        (result,) = answer["MetricDataResults"]
        self.assertEqual((result["Id"], result["Values"]), ("ratio", [25.0]))

    def test_each_series_is_listed_once(self) -> None:
        for _ in range(2):
            self.put(1)
            self.put(1, dimensions=GROUP)
        metrics = self.cloudwatch.list_metrics(MetricName=self.metric)["Metrics"]
        self.assertEqual(len(metrics), 2)

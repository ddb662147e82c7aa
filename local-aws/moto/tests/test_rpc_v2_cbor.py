"""Requests in CBOR, as the SDK for Rust sends them to CloudWatch."""

import datetime
import gzip
import urllib.error
import urllib.request
from typing import Any

from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from glue import gateway, rpc_v2_cbor
from tests.support import GlueTest, unique

SCOPE = "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/monitoring/aws4_request"


class Cbor(GlueTest):
    def ask(
        self, operation: str, parameters: dict[str, Any], zipped: bool = False
    ) -> dict[str, Any]:
        """What the operation answers, as botocore reads it."""
        path = f"/service/GraniteServiceVersion20100801/operation/{operation}"
        model = rpc_v2_cbor.operation_model(path)
        request = create_serializer("smithy-rpc-v2-cbor").serialize_to_request(
            parameters, model
        )
        self.assertEqual(request["url_path"], path)
        headers = {**request["headers"], "Authorization": SCOPE}
        body = request["body"]
        if zipped:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        sent = urllib.request.Request(gateway.endpoint() + path, body, headers)
        try:
            answer = opener.open(sent)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.assertEqual(answer.headers["smithy-protocol"], "rpc-v2-cbor")
            response = {
                "status_code": answer.status,
                "headers": answer.headers,
                "body": answer.read(),
            }
        parser = create_parser("smithy-rpc-v2-cbor")
        return parser.parse(response, model.output_shape)

    def test_an_alarm_is_put_and_described(self) -> None:
        name = unique("alarm")
        self.ask(
            "PutMetricAlarm",
            {
                "AlarmName": name,
                "Namespace": "n",
                "MetricName": "m",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1.5,
                "ComparisonOperator": "GreaterThanThreshold",
            },
        )
        alarms = self.ask("DescribeAlarms", {"AlarmNames": [name]})["MetricAlarms"]
        self.assertEqual([alarm["AlarmName"] for alarm in alarms], [name])
        self.assertEqual(alarms[0]["Threshold"], 1.5)
        self.assertIsInstance(
            alarms[0]["AlarmConfigurationUpdatedTimestamp"], datetime.datetime
        )

    def test_a_metric_that_came_zipped_is_found_at_its_time(self) -> None:
        namespace = unique("namespace")
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        data = [{"MetricName": "m", "Value": 2.5, "Timestamp": now}]
        self.ask(
            "PutMetricData", {"Namespace": namespace, "MetricData": data}, zipped=True
        )
        points = self.ask(
            "GetMetricStatistics",
            {
                "Namespace": namespace,
                "MetricName": "m",
                "StartTime": now - datetime.timedelta(minutes=1),
                "EndTime": now + datetime.timedelta(minutes=1),
                "Period": 60,
                "Statistics": ["Sum"],
            },
        )["Datapoints"]
        self.assertEqual([point["Sum"] for point in points], [2.5])

    def test_an_error_keeps_its_name_and_message(self) -> None:
        state = {"AlarmName": unique("none"), "StateValue": "OK", "StateReason": "r"}
        error = self.ask("SetAlarmState", state)["Error"]
        self.assertEqual(error["Code"], "ResourceNotFound")
        self.assertTrue(error["Message"])

"""Events that are delivered twice, late, out of order or not at all."""

import json
import os
import time
from typing import Any
from unittest import mock

import requests

from glue import gateway
from tests.support import GlueTest, unique, wait_for

URL = "/_glue/events/faults"


class Faults(GlueTest):
    def setUp(self) -> None:
        self.source = unique("source")
        self.url, arn = self.queue(unique("events"))
        client, rule = self.client("events"), unique("rule")
        client.put_rule(Name=rule, EventPattern=json.dumps({"source": [self.source]}))
        client.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
        self.numbers: list[int] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, gateway.endpoint() + path, json=body)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def order(self, deliver: str, times: int = 1, **more: Any) -> str:
        pattern = {
            "source": [self.source],
            "detail": {"number": [{"numeric": ["<", 9]}]},
        }
        body = {"pattern": pattern, "deliver": deliver, "times": times, **more}
        fault = self.ask("POST", URL, body)["id"]
        self.addCleanup(self.ask, "POST", f"{URL}/lift", {"id": fault})
        return fault

    def struck(self, fault: str) -> int:
        faults = {one["id"]: one for one in self.ask("GET", URL)}
        return faults[fault]["struck"]

    def put(self, *numbers: int) -> None:
        entries = [
            {
                "Source": self.source,
                "DetailType": "d",
                "Detail": json.dumps({"number": number}),
            }
            for number in numbers
        ]
        self.client("events").put_events(Entries=entries)

    def arrived(self, count: int) -> list[int]:
        """The numbers of the first events, of which there are at least so many."""
        while len(self.numbers) < count:
            for message in self.received(self.url):
                self.numbers.append(json.loads(message["Body"])["detail"]["number"])
                self.client("sqs").delete_message(
                    QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"]
                )
        return self.numbers

    def test_an_event_comes_twice(self) -> None:
        fault = self.order("TWICE")
        self.put(1, 2)
        self.assertEqual(self.arrived(3), [1, 1, 2])
        self.assertEqual(self.struck(fault), 1)

    def test_an_event_never_comes(self) -> None:
        fault = self.order("NEVER", times=2)
        self.put(1, 2, 3)
        self.assertEqual(self.arrived(1), [3])
        self.assertEqual(self.struck(fault), 2)

    def test_an_event_comes_late(self) -> None:
        with mock.patch.dict(os.environ, {"LOCAL_AWS_SPEED": "20"}):
            fault = self.order("LATE", seconds=10)
            began = time.monotonic()
            self.put(1, 2)
        self.assertEqual(self.arrived(2), [2, 1])
        self.assertGreaterEqual(time.monotonic() - began, 0.5)
        self.assertEqual(self.struck(fault), 1)

    def test_an_event_comes_after_the_next_one(self) -> None:
        fault = self.order("OUT_OF_ORDER", times=2)
        self.put(1, 2, 3, 4, 5)
        self.assertEqual(self.arrived(5), [2, 1, 4, 3, 5])
        self.assertEqual(self.struck(fault), 2)

    def test_only_events_that_match_are_concerned(self) -> None:
        fault = self.order("NEVER")
        self.put(9)
        self.assertEqual(self.arrived(1), [9])
        self.assertEqual(self.struck(fault), 0)

    def test_an_event_that_is_held_comes_when_the_fault_is_lifted(self) -> None:
        body = {"pattern": {"source": [self.source]}, "deliver": "OUT_OF_ORDER"}
        fault = self.ask("POST", URL, {**body, "times": 1})["id"]
        self.put(1)
        wait_for(lambda: self.struck(fault) == 1)
        self.ask("POST", f"{URL}/lift", {"id": fault})
        self.assertEqual(self.arrived(1), [1])
        self.assertNotIn(fault, [one["id"] for one in self.ask("GET", URL)])

    def test_a_fault_may_be_about_one_target_of_several(self) -> None:
        """One event, two rules: what is ordered for the one does not concern the other."""
        url, arn = self.queue(unique("others"))
        client, rule = self.client("events"), unique("other-rule")
        client.put_rule(Name=rule, EventPattern=json.dumps({"source": [self.source]}))
        client.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])
        name = arn.split(":")[-1]

        def at_the_other(count: int) -> list[int]:
            numbers: list[int] = []
            while len(numbers) < count:
                for message in self.received(url):
                    numbers.append(json.loads(message["Body"])["detail"]["number"])
                    self.client("sqs").delete_message(
                        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                    )
            return numbers

        for order, put, here, there in (
            ({"deliver": "NEVER", "target": name}, (1, 2), [1, 2], [2]),
            ({"deliver": "TWICE", "target": arn}, (3,), [3], [3, 3]),
            ({"deliver": "OUT_OF_ORDER", "rule": f"{rule[:-2]}*"}, (4, 5), [4, 5], [5, 4]),
            ({"deliver": "LATE", "seconds": 0.2, "target": name}, (6, 7), [6, 7], [7, 6]),
        ):
            with self.subTest(order=order):
                fault = self.order(**order)
                self.put(*put)
                self.numbers.clear()
                self.assertEqual(self.arrived(len(here)), here)
                self.assertEqual(at_the_other(len(there)), there)
                self.assertEqual(self.struck(fault), 1)
        nowhere = self.order("NEVER", target="no-such-queue")
        self.put(8)
        self.assertEqual(at_the_other(1), [8])
        self.assertEqual(self.struck(nowhere), 0)

    def test_the_older_of_two_faults_strikes_first(self) -> None:
        first, second = self.order("NEVER"), self.order("TWICE")
        self.put(1, 2)
        self.assertEqual(self.arrived(2), [2, 2])
        self.assertEqual((self.struck(first), self.struck(second)), (1, 1))

    def test_what_is_no_fault_is_refused(self) -> None:
        good = {"pattern": {"source": ["s"]}, "deliver": "TWICE", "times": 1}
        for change in (
            {"deliver": "SOMETIMES"},
            {"times": 0},
            {"seconds": -1},
            {"pattern": {"source": "s"}},
            {"unknown": 1},
        ):
            with self.subTest(change=change):
                body = {**good, **change}
                answer = requests.post(gateway.endpoint() + URL, json=body)
                self.assertEqual(answer.status_code, 400)
                self.assertTrue(answer.json()["message"])

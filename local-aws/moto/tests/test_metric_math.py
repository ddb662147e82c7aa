import unittest

from glue.metric_math import Series, UnsupportedExpression, evaluate

STARTS = [0.0, 60.0, 120.0]
METRICS: dict[str, Series] = {
    "errors": {0.0: 1.0, 120.0: 4.0},
    "requests": {0.0: 10.0, 60.0: 20.0, 120.0: 0.0},
}


def computed(expression: str) -> Series:
    return evaluate(expression, METRICS.__getitem__, list(METRICS), STARTS, 60.0)


class Expressions(unittest.TestCase):
    def check(self, expression: str, *expected: float | None) -> None:
        series = computed(expression)
        self.assertEqual(tuple(map(series.get, STARTS)), expected, expression)

    def test_a_ratio_has_datapoints_where_both_metrics_have_and_none_by_zero(self) -> None:
        self.check("errors / requests * 100", 10.0, None, None)

    def test_missing_datapoints_are_filled(self) -> None:
        self.check("FILL(errors, 0)", 1.0, 0.0, 4.0)
        self.check("FILL(errors, REPEAT)", 1.0, 1.0, 4.0)
        self.check("FILL(errors, requests)", 1.0, 20.0, 4.0)

    def test_sums_of_several_metrics_are_series(self) -> None:
        self.check("SUM([errors, requests])", 11.0, 20.0, 4.0)
        self.check("SUM(METRICS())", 11.0, 20.0, 4.0)
        self.check("MAX(METRICS(\"err\"))", 1.0, None, 4.0)
        self.check("AVG([errors, requests])", 5.5, 20.0, 2.0)
        self.check("SUM(FILL(METRICS(), 0))", 11.0, 20.0, 4.0)

    def test_an_aggregate_of_one_metric_is_a_number(self) -> None:
        self.check("requests / MAX(requests)", 0.5, 1.0, 0.0)

    def test_a_condition_chooses(self) -> None:
        self.check("IF(requests > 15, requests, 0)", 0.0, 20.0, 0.0)
        self.check("IF(requests > 5 AND requests < 15, 1)", 1.0, None, None)
        self.check("IF(requests == 0 || requests == 20, 1, 2)", 2.0, 1.0, 1.0)

    def test_arithmetic(self) -> None:
        self.check("-2 ^ 2 + 7 % 4", -1.0, -1.0, -1.0)
        self.check("CEIL(requests / 3)", 4.0, 7.0, 0.0)
        self.check("requests / PERIOD(requests)", 10 / 60, 20 / 60, 0.0)

    def test_what_is_not_known_is_named(self) -> None:
        for expression, named in {
            "ANOMALY_DETECTION_BAND(errors, 2)": "ANOMALY_DETECTION_BAND",
            "SELECT MAX(x) FROM y": "cannot be read",
            "errors.__class__": "__class__",
            "METRICS()": "more than one series",
            "IF(errors, METRICS(), 0)": "single metrics",
        }.items():
            with self.subTest(expression):
                with self.assertRaisesRegex(UnsupportedExpression, named):
                    computed(expression)

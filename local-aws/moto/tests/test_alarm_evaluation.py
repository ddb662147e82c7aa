import unittest

from glue.alarm_evaluation import (
    ALARM,
    INSUFFICIENT_DATA,
    OK,
    Condition,
    Datapoint,
    judge,
)

RETAIN = "retain the state"

# The two tables of "How alarm state is evaluated when data is missing", row by row: an evaluation
# range of five datapoints, of which three are wanted, from the oldest to the newest (0 within the
# threshold, X beyond it, - missing), and the state for each treatment of missing data.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
THREE_OUT_OF_THREE = {
    # datapoints: missing, ignore, breaching, notBreaching
    "0 - X - X": (OK, OK, OK, OK),
    "0 - - - -": (OK, OK, OK, OK),
    "- - - - -": (INSUFFICIENT_DATA, RETAIN, ALARM, OK),
    "0 X X - X": (ALARM, ALARM, ALARM, ALARM),
    "- - X - -": (ALARM, RETAIN, ALARM, OK),
}
TWO_OUT_OF_THREE = {
    "0 - X - X": (ALARM, ALARM, ALARM, ALARM),
    "0 0 X 0 X": (ALARM, ALARM, ALARM, ALARM),
    "0 - X - -": (OK, OK, ALARM, OK),
    "- - - - 0": (OK, OK, ALARM, OK),
    "- - - X -": (ALARM, RETAIN, ALARM, OK),
}
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def condition(
    periods: int,
    enough: int,
    treatment: str = "missing",
    comparison: str = "GreaterThanThreshold",
) -> Condition:
    return Condition(comparison, 50.0, periods, enough, treatment)


def datapoints(signs: str) -> list[Datapoint]:
    values = {"0": 1.0, "X": 99.0, "-": None}
    return [
        Datapoint(60.0 * index, values[sign])
        for index, sign in enumerate(signs.split())
    ]


class MissingData(unittest.TestCase):
    def check(self, table: dict[str, tuple[str, ...]], periods: int, enough: int) -> None:
        for signs, states in table.items():
            for treatment, state in zip(TREATMENTS, states, strict=True):
                for current in (OK, ALARM, INSUFFICIENT_DATA):
                    expected = current if state == RETAIN else state
                    with self.subTest(signs, treatment=treatment, current=current):
                        judgement = judge(
                            condition(periods, enough, treatment),
                            datapoints(signs),
                            current,
                        )
                        self.assertEqual(judgement.state, expected)

    def test_every_datapoint_has_to_breach(self) -> None:
        self.check(THREE_OUT_OF_THREE, 3, 3)

    def test_some_datapoints_have_to_breach(self) -> None:
        self.check(TWO_OUT_OF_THREE, 3, 2)

    # "Avoiding premature transitions to alarm state", on the page of the tables: breaching data,
    # and nothing but missing data behind them, make an alarm once the oldest of them is as old as
    # the datapoints that are wanted, however few they are. Those with three out of three are the
    # page's own examples. That an alarm keeps its state until then is not said there, only that it
    # "does not go immediately into ALARM state"; INSUFFICIENT_DATA is for a range without any data.
    def test_breaching_data_that_may_be_the_first_of_more_decide_nothing_yet(self) -> None:
        for periods, enough, signs in (
            (3, 3, "- - - - X"),
            (3, 3, "- - - X -"),
            (3, 2, "- - - - X"),
            (5, 3, "- - - - - - X"),
            (5, 3, "- - - - - X -"),
        ):
            for current in (OK, INSUFFICIENT_DATA):
                with self.subTest(signs, current=current):
                    judgement = judge(condition(periods, enough), datapoints(signs), current)
                    self.assertEqual(judgement.state, current)

    def test_a_datapoint_within_the_threshold_behind_them_averts_the_alarm(self) -> None:
        for signs in ("- - - X 0", "- - X - 0"):
            for current in (OK, ALARM, INSUFFICIENT_DATA):
                with self.subTest(signs, current=current):
                    judgement = judge(condition(3, 3), datapoints(signs), current)
                    self.assertEqual(judgement.state, OK)

    def test_breaching_data_that_are_old_enough_make_an_alarm_however_few(self) -> None:
        for periods, enough, signs in (
            (3, 3, "- - X - -"),
            (3, 2, "- - - X -"),
            (5, 3, "- - - - X - -"),
            (5, 3, "- - X - - - X"),
        ):
            for current in (OK, INSUFFICIENT_DATA):
                with self.subTest(signs, current=current):
                    judgement = judge(condition(periods, enough), datapoints(signs), current)
                    self.assertEqual(judgement.state, ALARM)


class Comparisons(unittest.TestCase):
    def test_all_operators(self) -> None:
        for comparison, alarming in {
            "GreaterThanThreshold": (51.0,),
            "GreaterThanOrEqualToThreshold": (50.0, 51.0),
            "LessThanThreshold": (49.0,),
            "LessThanOrEqualToThreshold": (49.0, 50.0),
        }.items():
            for value in (49.0, 50.0, 51.0):
                with self.subTest(comparison, value=value):
                    judgement = judge(
                        condition(1, 1, comparison=comparison),
                        [Datapoint(0.0, value)],
                        INSUFFICIENT_DATA,
                    )
                    expected = ALARM if value in alarming else OK
                    self.assertEqual(judgement.state, expected)


class Reasons(unittest.TestCase):
    # Of the documented events' form:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    def reason(self, signs: str, treatment: str = "missing", enough: int = 2) -> str:
        return judge(condition(2, enough, treatment), datapoints(signs), OK).reason

    def test_a_threshold_that_was_crossed(self) -> None:
        self.assertEqual(
            self.reason("0 0 X X"),
            "Threshold Crossed: 2 out of the last 2 datapoints "
            "[99.0 (01/01/70 00:03:00), 99.0 (01/01/70 00:02:00)] were greater than the "
            "threshold (50.0) (minimum 2 datapoints for OK -> ALARM transition).",
        )

    def test_a_threshold_that_was_not_crossed(self) -> None:
        self.assertEqual(
            self.reason("X X X 0"),
            "Threshold Crossed: 1 out of the last 2 datapoints "
            "[1.0 (01/01/70 00:03:00), 99.0 (01/01/70 00:02:00)] was not greater than the "
            "threshold (50.0) (minimum 1 datapoint for ALARM -> OK transition).",
        )

    def test_no_data(self) -> None:
        self.assertEqual(
            self.reason("- - - -"), "Insufficient Data: 2 datapoints were unknown."
        )
        self.assertEqual(
            self.reason("- - - -", "breaching"),
            "Threshold Crossed: no datapoints were received for 2 periods and 2 missing "
            "datapoints were treated as [Breaching].",
        )

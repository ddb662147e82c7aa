"""Metrics: what is put, and the statistics of it.

Holes in moto 5.2.5: GetMetricStatistics adds up every series that has at least the dimensions
asked for, where CloudWatch means the one that has exactly these; GetMetricData loses series with
several dimensions; neither knows percentiles or metric math; every call searches all that was
ever put.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
"""

import bisect
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricDatum, MetricDatumBase
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from glue import metric_math
from glue.metric_math import Series, UnsupportedExpression


@dataclass(frozen=True, slots=True)
class Observation:
    """Values of one moment, in seconds since the epoch: one value, or a set of `count` values."""

    moment: float
    minimum: float
    maximum: float
    total: float
    count: float
    unit: str | None


@dataclass(frozen=True)
class Metric:
    """A series: dimensions are part of its identity."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]

    @classmethod
    def of(
        cls, namespace: str, name: str, dimensions: Iterable[dict[str, Any]]
    ) -> "Metric":
        pairs = frozenset((it["Name"], it["Value"]) for it in dimensions)
        return cls(namespace, name, pairs)


class Store:
    """All observations of one account and region."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[Metric, list[Observation]] = {}

    def add(self, metric: Metric, observations: Iterable[Observation]) -> bool:
        """Keeps observations; answers whether the metric is a new one."""
        with self._lock:
            is_new = metric not in self._series
            series = self._series.setdefault(metric, [])
            for observation in observations:
                bisect.insort(series, observation, key=attrgetter("moment"))
            return is_new

    def between(
        self, metric: Metric, start: float, end: float, unit: str | None = None
    ) -> list[Observation]:
        """What was observed from `start` to before `end`; all units, or one."""
        with self._lock:
            series = self._series.get(metric, [])
            first = bisect.bisect_left(series, start, key=attrgetter("moment"))
            last = bisect.bisect_left(series, end, key=attrgetter("moment"))
            found = series[first:last]
        return [it for it in found if unit is None or it.unit == unit]


# Statistics.


def statistic(name: str, observations: list[Observation]) -> float | None:
    """A statistic such as `Average` or `p99.9`; nothing where nothing was observed."""
    count = sum(it.count for it in observations)
    if not count:
        return None
    total = sum(it.total for it in observations)
    if name.startswith("p"):
        return _percentile(float(name[1:]), observations)
    known = {
        "SampleCount": lambda: count,
        "Sum": lambda: total,
        "Average": lambda: total / count,
        "Minimum": lambda: min(it.minimum for it in observations),
        "Maximum": lambda: max(it.maximum for it in observations),
    }
    if name not in known:
        raise UnsupportedExpression(f"the statistic {name} is not known here")
    return float(known[name]())


def _percentile(percent: float, observations: list[Observation]) -> float | None:
    """The smallest value that so many percent of the values do not exceed.

    Sets of values of which only sum and extremes are known have no percentiles, as in CloudWatch.
    """
    if any(it.minimum != it.maximum for it in observations):
        return None
    ordered = sorted(observations, key=attrgetter("minimum"))
    wanted = math.ceil(percent / 100 * sum(it.count for it in ordered))
    seen = 0.0
    for observation in ordered:
        seen += observation.count
        if seen >= wanted:
            return observation.minimum
    return ordered[-1].minimum


def datapoints(
    store: Store,
    metric: Metric,
    stat: str,
    unit: str | None,
    starts: list[float],
    period: float,
) -> Series:
    """The statistic for each of the periods that begin at `starts` and have data."""
    series = {}
    for start in starts:
        observed = store.between(metric, start, start + period, unit)
        value = statistic(stat, observed)
        if value is not None:
            series[start] = value
    return series


def query(
    store: Store,
    queries: list[dict[str, Any]],
    wanted: str,
    starts: list[float],
    period: float,
) -> Series:
    """The result of one of several metric data queries that may refer to each other."""
    by_id = {it["Id"]: it for it in queries}

    def series(query_id: str) -> Series:
        if query_id not in by_id:
            raise UnsupportedExpression(f"there is no metric {query_id}")
        asked = by_id[query_id]
        if "MetricStat" not in asked:
            metrics = [it["Id"] for it in queries if "MetricStat" in it]
            return metric_math.evaluate(
                asked["Expression"], series, metrics, starts, period
            )
        stat = asked["MetricStat"]
        found = stat["Metric"]
        metric = Metric.of(
            found["Namespace"], found["MetricName"], found.get("Dimensions", [])
        )
        return datapoints(
            store, metric, stat["Stat"], stat.get("Unit"), starts, period
        )

    return series(wanted)


# moto.


def epoch(moment: datetime) -> float:
    """Seconds since the epoch of a moment in UTC, which moto keeps without a time zone."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.timestamp()


def _observations(datum: dict[str, Any]) -> list[Observation]:
    moment = epoch(datum.get("Timestamp") or utcnow())
    unit = datum.get("Unit")
    if "StatisticValues" in datum:
        values = datum["StatisticValues"]
        figures = ("Minimum", "Maximum", "Sum", "SampleCount")
        low, high, total, count = (float(values[figure]) for figure in figures)
        return [Observation(moment, low, high, total, count, unit)]
    values = [float(it) for it in datum.get("Values") or [datum.get("Value", 0)]]
    counts = [float(it) for it in datum.get("Counts") or [1] * len(values)]
    return [
        Observation(moment, value, value, value * count, count, unit)
        for value, count in zip(values, counts, strict=True)
    ]


def _put_metric_data(
    self: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]
) -> None:
    for number, datum in enumerate(metric_data, 1):
        self._validate_parameters_put_metric_data(datum, number)
    for datum in metric_data:
        dimensions = datum.get("Dimensions", [])
        metric = Metric.of(namespace, datum["MetricName"], dimensions)
        if self.observations.add(metric, _observations(datum)):
            # Of each series one is kept where ListMetrics looks.
            listed = MetricDatum(
                namespace, datum["MetricName"], 0.0, dimensions, None, None
            )
            self.metric_data.append(listed)


def _computed(backend: CloudWatchBackend, metric: Metric) -> list[Observation]:
    """What moto's other services tell of themselves, such as the size of a bucket."""

    def matches(datum: MetricDatumBase) -> bool:
        dimensions = frozenset((it.name, it.value) for it in datum.dimensions)
        return Metric(datum.namespace, datum.name, dimensions) == metric

    return [
        Observation(
            epoch(it.timestamp), it.value, it.value, it.value, 1, it.unit
        )
        for it in backend.aws_metric_data
        if isinstance(it, MetricDatum) and matches(it)
    ]


def _starts(start: datetime, end: datetime, period: float) -> list[float]:
    """When the periods begin that cover a stretch of time; they are whole ones since the epoch."""
    first = math.floor(epoch(start) / period)
    last = math.ceil(epoch(end) / period)
    return [number * period for number in range(first, last)]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


def _get_metric_statistics(self: CloudWatchResponse) -> ActionResult:
    name, namespace = self._get_param("MetricName"), self._get_param("Namespace")
    statistics = self._get_param("Statistics", []) or []
    extended = self._get_param("ExtendedStatistics", []) or []
    if not statistics and not extended:
        raise InvalidParameterCombination(
            "Must specify either Statistics or ExtendedStatistics"
        )
    start, end = self._get_param("StartTime"), self._get_param("EndTime")
    if start >= end:
        raise ValidationError(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    unit, period = self._get_param("Unit"), self._get_int_param("Period")
    metric = Metric.of(namespace, name, self._get_param("Dimensions", []))
    backend = self.cloudwatch_backend
    computed = _computed(backend, metric)
    result = []
    for begin in _starts(start, end, period):
        observed = backend.observations.between(metric, begin, begin + period, unit)
        observed += [it for it in computed if begin <= it.moment < begin + period]
        if observed:
            datapoint: dict[str, Any] = {
                "Timestamp": _moment(begin),
                "Unit": observed[0].unit,
            }
            datapoint |= {it: statistic(it, observed) for it in statistics}
            if extended:
                values = {it: statistic(it, observed) for it in extended}
                datapoint["ExtendedStatistics"] = values
            result.append(datapoint)
    return ActionResult({"Label": name, "Datapoints": result})


def _get_metric_data(self: CloudWatchResponse) -> ActionResult:
    parameters = self._get_params()
    queries = parameters.get("MetricDataQueries", [])
    start, end = parameters["StartTime"], parameters["EndTime"]
    if start >= end:
        raise ValidationError("The parameter EndTime must be greater than StartTime.")
    descending = parameters.get("ScanBy") != "TimestampAscending"
    results = []
    for asked in queries:
        if "MetricStat" not in asked and "Expression" not in asked:
            raise ValidationError(
                "The parameter MetricDataQueries.member.1.MetricStat is required.\n"
            )
        if asked.get("ReturnData") is False:
            continue
        period = period_of(queries, asked)
        try:
            found = query(
                self.cloudwatch_backend.observations,
                queries,
                asked["Id"],
                _starts(start, end, period),
                period,
            )
        except UnsupportedExpression as error:
            raise ValidationError(f"Error in expression '{asked['Id']}': {error}")
        moments = sorted(found, reverse=descending)
        results.append(
            {
                "Id": asked["Id"],
                "Label": asked.get("Label") or _label(asked),
                "Timestamps": [_moment(moment) for moment in moments],
                "Values": [found[moment] for moment in moments],
                "StatusCode": "Complete",
            }
        )
    return ActionResult({"MetricDataResults": results})


def _label(asked: dict[str, Any]) -> str:
    stat = asked.get("MetricStat")
    return stat["Metric"]["MetricName"] if stat else asked["Id"]


def period_of(queries: list[dict[str, Any]], asked: dict[str, Any]) -> int:
    """The period of a query, in AWS's seconds: an expression has the longest of its metrics."""
    own = asked.get("MetricStat", {}).get("Period") or asked.get("Period")
    if own:
        return int(own)
    periods = [int(it["MetricStat"]["Period"]) for it in queries if "MetricStat" in it]
    return max(periods, default=60)


def install() -> None:
    """Keeps metrics by series, and computes statistics as CloudWatch does."""
    initialise = CloudWatchBackend.__init__

    def with_store(self: CloudWatchBackend, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.observations = Store()

    CloudWatchBackend.__init__ = with_store
    CloudWatchBackend.put_metric_data = _put_metric_data
    CloudWatchResponse.get_metric_statistics = _get_metric_statistics
    CloudWatchResponse.get_metric_data = _get_metric_data

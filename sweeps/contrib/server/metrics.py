"""Metrics for Prometheus: tasks, workers, seconds, retries, lost leases and best scores."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kd.errors import KdError
from storage.records import queries
from storage.records.tallies import SecondsTally, Tallies, tallies
from storage.tables import TASK_STATES, SweepRecord
from sweeps.contrib.server.problems import LOG
from sweeps.contrib.server.state import Served
from sweeps.errors import SweepError
from sweeps.hints import explain
from sweeps.plan.phases import STAGES, UNAVAILABLE, display_state
from sweeps.query.status import STATES, worker_state
from sweeps.spec.stored import as_it_stands

BOUNDS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
CACHE_TTL_S = 3.0


def text(served: Served) -> bytes:
    with served.database.engine() as engine:
        totals = tallies(engine, BOUNDS_S)
        leases = dict(_leases(queries.list_sweeps(engine)))
    names = filter(served.shows, leases)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families(totals, {name: leases[name] for name in names})))
    return generate_latest(registry)


def _leases(sweeps: Iterable[SweepRecord]) -> Iterator[tuple[str, float]]:
    """Yield name and lease of the sweeps whose spec can be read; a damaged one hides no other."""
    for sweep in sweeps:
        try:
            yield sweep.name, as_it_stands(sweep).lease.seconds
        except (SweepError, KdError) as error:
            LOG.warning("%s has no metrics: %s", sweep.name, explain(error))


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def families(totals: Tallies, leases: dict[str, float]) -> Iterator[Metric]:
    """Yield the metrics of the sweeps in `leases`, their leases in seconds."""
    yield from _tasks(totals, leases)
    yield _workers(totals, leases)
    yield _seconds([tally for tally in totals.seconds if tally.sweep in leases])
    retries = CounterMetricFamily("kd_sweeps_retries", "Attempts at tasks beyond the first.", labels=["sweep"])
    lost = CounterMetricFamily("kd_sweeps_lost_leases", "Attempts whose worker disappeared.", labels=["sweep"])
    best = GaugeMetricFamily(
        "kd_sweeps_best_score",
        "Best validation score of a search trial, higher is better: accuracy as a fraction, minus a minimised one.",
        labels=["sweep"],
    )
    for tally in totals.attempts:
        if tally.sweep in leases:
            retries.add_metric([tally.sweep], tally.retries)
            lost.add_metric([tally.sweep], tally.lost)
            if tally.best is not None:
                best.add_metric([tally.sweep], tally.best)
    yield from (retries, lost, best)


def _tasks(totals: Tallies, leases: dict[str, float]) -> Iterator[Metric]:
    family = GaugeMetricFamily("kd_sweeps_tasks", "Tasks by stage and state.", labels=["sweep", "stage", "state"])
    counts = Counter[tuple[str, str, str]]()
    for tally in totals.tasks:
        counts[tally.sweep, tally.stage, display_state(tally.stage, tally.state, tally.error_class)] += tally.count
    for sweep in leases:
        for stage in STAGES:
            for state in (*TASK_STATES, UNAVAILABLE):
                family.add_metric([sweep, stage, state], counts[sweep, stage, state])
    yield family


def _workers(totals: Tallies, leases: dict[str, float]) -> Metric:
    family = GaugeMetricFamily("kd_sweeps_workers", "Workers by state.", labels=["sweep", "state"])
    counts = Counter[tuple[str, str]]()
    for tally in totals.workers:
        if tally.sweep in leases:
            state = worker_state(
                ended=tally.ended,
                has_reason=tally.has_reason,
                seen_s=tally.seen_s,
                busy=tally.busy,
                lease_s=leases[tally.sweep],
            )
            counts[tally.sweep, state] += 1
    for sweep in leases:
        for state in STATES:
            family.add_metric([sweep, state], counts[sweep, state])
    return family


def _seconds(tallied: list[SecondsTally]) -> Metric:
    family = HistogramMetricFamily(
        "kd_sweeps_task_seconds", "Seconds of a finished task; in stage search, of a trial.", labels=["sweep", "stage"]
    )
    for tally in tallied:
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        counts = list(zip(bounds, (*tally.up_to, tally.count), strict=True))
        family.add_metric([tally.sweep, tally.stage], counts, tally.seconds)
    return family

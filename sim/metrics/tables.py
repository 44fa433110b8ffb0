"""Run records as Arrow tables: names in place of codes, units in the column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sim.metrics.collector import (
    COST_BIN_USD,
    KEPT,
    LATENCY_COLUMNS,
    METRICS,
    SLO_PARTS,
    Collector,
    latencies,
)
from sim.metrics.groups import Groups
from sim.metrics.histogram import EDGES, NUM_BINS
from sim.metrics.records import COMPLETED, DONE, ENDINGS
from sim.metrics.timeline import INTERVAL

# written as names, or not at all
_NOT_WRITTEN = {"class_id", "language", "ending", "pool", "transfer_s", "pad", "serial", "retry_of"}
_IDENTITY = ("user", "conversation", "turn", "attempt")
_WRITTEN_AS = {"cost_usd": "busy_cost_usd"}  # a request's carried shares; a tier's cost_usd has idle time in it


def requests_table(collector: Collector) -> pa.Table:
    """Return the sample of requests: a row each, its weight, why it was kept, and its latencies.

    `weight` is the number of measured requests that a row stands for, so weighted counts and sums are unbiased.
    Latencies are null where they do not exist. Published percentiles come from the histograms, not from here.
    """
    rows, weight, kept = collector.sample()
    groups = collector.groups
    tier_of_row = groups.tier_of_class[rows["class_id"]]
    columns = {
        "tier": _names(tier_of_row, [tier.name for tier in groups.tiers]),
        "class": _names(rows["class_id"], [c.name for c in groups.classes]),
        "language": _names(rows["language"], groups.languages),
        "ending": _names(rows["ending"], ENDINGS),
        "pool": _names(rows["pool"], [pool.name for pool in groups.pools]),
        "weight": pa.array(weight),
        "kept": _names(kept, KEPT),
        "request_id": _request_ids(rows, 0),
        "retry_of": pc.if_else(pa.array(rows["attempt"] > 0), _request_ids(rows, 1), None),
    }
    for name in DONE.names or ():
        if name not in _NOT_WRITTEN:
            columns[_WRITTEN_AS.get(name, name)] = _nullable(np.ascontiguousarray(rows[name]))
    columns |= _latency_columns(rows, groups)
    return pa.table(columns)


def _request_ids(rows: NDArray[np.void], num_before: int) -> pa.Array:
    """Return the identities of requests, or of as many attempts before them at the same turn, as words."""
    numbers = [rows[name] - (num_before if name == "attempt" else 0) for name in _IDENTITY]
    return pc.binary_join_element_wise(*(pc.cast(pa.array(column), pa.string()) for column in numbers), ".")


def _latency_columns(rows: NDArray[np.void], groups: Groups) -> dict[str, pa.Array]:
    """Return the latencies of completed rows, and whether they kept their SLO (null where none is judged)."""
    completed = rows["ending"] == COMPLETED
    values = latencies({name: rows[name] for name in LATENCY_COLUMNS})
    columns = {}
    met = np.ones(len(rows), dtype=np.bool_)
    for name, value in zip(METRICS, values, strict=True):
        exists = completed & (rows["output_tokens"] > 1) if name == "tpot" else completed
        if name != "cost":
            columns[f"{name}_s"] = pa.array(value, mask=~exists)
        if name in SLO_PARTS:
            met &= value <= groups.limits(f"{name}_s")[rows["class_id"]]
    judged = np.array([tier.has_slo for tier in groups.tiers], dtype=np.bool_)
    judged = judged[groups.tier_of_class][rows["class_id"]] & completed
    return {**columns, "slo_met": pa.array(met, mask=~judged)}


def timeline_table(timeline: NDArray[np.void], pools: Sequence[str]) -> pa.Table:
    """Return the timeline: a row per interval and pool."""
    columns = {"pool": _names(timeline["pool"], pools)}
    for name in INTERVAL.names or ():
        if name != "pool":
            columns[name] = _nullable(np.ascontiguousarray(timeline[name]))
    return pa.table(columns)


def timeline_rows(table: pa.Table, pools: Sequence[str]) -> NDArray[np.void]:
    """Return `INTERVAL` rows from a timeline table."""
    rows = np.zeros(table.num_rows, dtype=INTERVAL)
    index = {name: i for i, name in enumerate(pools)}
    rows["pool"] = [index[name] for name in table["pool"].to_pylist()]
    for name in INTERVAL.names or ():
        if name != "pool":
            rows[name] = table[name].to_numpy()
    return rows


def histograms_table(histograms: Mapping[str, Mapping[str, NDArray[np.int64]]]) -> pa.Table:
    """Return every bin that holds anything: tier, metric, bin, its edges (s; usd for cost), and its count."""
    tiers, metrics, bins, counts = [], [], [], []
    for tier, by_metric in histograms.items():
        for metric, values in by_metric.items():
            filled = np.flatnonzero(values)
            tiers += [tier] * len(filled)
            metrics += [metric] * len(filled)
            bins.append(filled)
            counts.append(values[filled])
    index = np.concatenate(bins) if bins else np.zeros(0, np.int64)
    unit = np.where(np.array(metrics) == "cost", COST_BIN_USD, 1.0) if metrics else np.zeros(0)
    return pa.table(
        {
            "tier": pa.array(tiers, pa.string()).dictionary_encode(),
            "metric": pa.array(metrics, pa.string()).dictionary_encode(),
            "bin": pa.array(index),
            "lower": pa.array(EDGES[index] * unit),
            "upper": pa.array(EDGES[index + 1] * unit),
            "count": pa.array(np.concatenate(counts) if counts else index),
        }
    )


def histograms_from(table: pa.Table, tiers: Sequence[str]) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Return tier -> metric -> counts from a histograms table."""
    result = {tier: {name: np.zeros(NUM_BINS, np.int64) for name in (*METRICS, "itl")} for tier in tiers}
    columns = (table[name].to_pylist() for name in ("tier", "metric", "bin", "count"))
    for tier, metric, index, num in zip(*columns, strict=True):
        result[tier][metric][index] = num
    return result


def _names(codes: NDArray[np.int64], names: Sequence[str]) -> pa.Array:
    """Return codes as names; a code below zero is null."""
    return pa.DictionaryArray.from_arrays(
        pa.array(np.ascontiguousarray(codes, dtype=np.int32), mask=np.asarray(codes) < 0),
        pa.array(list(names), pa.string()),
    )


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    """Return a column with null in place of NaN."""
    if values.dtype.kind != "f":
        return pa.array(values)
    return pa.array(values, mask=np.isnan(values))

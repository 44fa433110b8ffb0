"""Made-up records of a finished run, for the tests of metrics and reports."""

import numpy as np

from sim.metrics.collector import Collector, SampleSize
from sim.metrics.groups import ClassFacts, Groups, PoolFacts, TierFacts
from sim.metrics.histogram import count
from sim.metrics.records import COMPLETED, DONE, ENDINGS, RATE_LIMITED, SHED
from sim.metrics.rundata import RunData
from sim.metrics.summary import RunFacts, summarise, tier_histograms
from sim.metrics.tables import requests_table
from sim.metrics.timeline import INTERVAL
from sim.spec.tier import Slo

GROUPS = Groups(
    classes=(
        ClassFacts("free chat", "free", itl_row=0),
        ClassFacts("pro chat", "pro", itl_row=1),
        ClassFacts("pro long", "pro", itl_row=2),
        ClassFacts("api", "api", is_program=True, itl_row=3),
    ),
    tiers=(
        TierFacts("free", Slo(ttft_s=2.0, tpot_s=0.05), num_users=9000.0),
        TierFacts("pro", Slo(ttft_s=1.0, tpot_s=0.04, e2el_s=40.0), num_users=1000.0),
        TierFacts("api", None),
    ),
    languages=("en", "hi", "sw"),
    has_transfers=True,
    pools=(
        PoolFacts("main", "a-model", "h100", num_gpus=4, usd_per_gpu_hour=3.0),
        PoolFacts("guard", "a-guard", "h100", num_gpus=1, usd_per_gpu_hour=2.5),
    ),
)
HORIZON_S = 86400.0


def bits(user, conversation, turn):
    """A stand-in for the draws of traffic: a hash of its own, with the same shape."""
    word = (user << np.uint64(32)) ^ (conversation << np.uint64(12)) ^ turn
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        word = (word ^ (word >> np.uint64(31))) * np.uint64(factor)
    return word ^ (word >> np.uint64(29))


def done(num, seed=0, first_s=-600.0, completed_frac=0.95):
    """`num` finished requests with distinct (user, conversation, turn), in the order of their ends."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(num, DONE)
    rows["user"] = draw.integers(0, 10_000, num)
    rows["conversation"] = np.arange(num)
    rows["turn"] = draw.geometric(0.4, num) - 1
    rows["serial"] = np.arange(num)
    rows["class_id"] = draw.choice(4, num, p=[0.6, 0.2, 0.05, 0.15])
    rows["language"] = draw.choice(3, num, p=[0.7, 0.25, 0.05])
    rows["ending"] = np.where(draw.random(num) < completed_frac, COMPLETED, draw.integers(1, len(ENDINGS), num))
    rows["prompt_tokens"] = draw.integers(1, 4000, num)
    rows["cached_tokens"] = rows["prompt_tokens"] // 3
    rows["output_tokens"] = draw.geometric(1 / 300, num)
    rows["requested_tokens"] = rows["output_tokens"]
    rows["num_preemptions"] = draw.poisson(0.01, num)
    rows["arrived_s"] = draw.uniform(first_s, HORIZON_S, num)
    rows["classified_s"] = rows["arrived_s"] + draw.lognormal(-4, 0.3, num)
    rows["scheduled_s"] = rows["classified_s"] + draw.exponential(0.1, num)
    rows["first_token_s"] = rows["scheduled_s"] + draw.lognormal(-1.5, 0.6, num)
    rows["transfer_s"] = np.where(rows["class_id"] == 2, 0.25, 0.0) * (rows["first_token_s"] - rows["scheduled_s"])
    rows["end_s"] = rows["first_token_s"] + (rows["output_tokens"] - 1) * draw.lognormal(-3.6, 0.2, num)
    rows["busy_s"] = rows["output_tokens"] * 2e-4
    rows["guard_s"] = 1e-3
    price_usd_per_s = [pool.num_gpus * pool.usd_per_gpu_hour / 3600.0 for pool in GROUPS.pools]
    rows["cost_usd"] = rows["busy_s"] * price_usd_per_s[0] + rows["guard_s"] * price_usd_per_s[1]
    turned_away = np.isin(rows["ending"], (RATE_LIMITED, SHED))
    for name in ("classified_s", "scheduled_s", "first_token_s"):
        rows[name][turned_away] = np.nan
    for name in ("output_tokens", "cached_tokens", "cost_usd", "busy_s", "guard_s"):
        rows[name][turned_away] = 0
    rows["pool"][turned_away] = -1
    rows["replica"][turned_away] = -1
    return rows[np.argsort(rows["end_s"])]


def measured(rows):
    """The rows that count: those that arrive from t = 0 on."""
    return rows[rows["arrived_s"] >= 0.0]


def collect(rows, *, chunk=16_384, size=None):
    """A collector that was fed with the rows."""
    collector = Collector(GROUPS, bits, num_hours=24, size=size or SampleSize())
    for start in range(0, len(rows), chunk):
        collector.add(rows[start : start + chunk])
    return collector


def intervals(num_hours=24, *, saturated=False):
    """A day of quarter hours of both pools, with one saturated interval if asked for."""
    start_s = np.arange(0.0, num_hours * 3600.0, 900.0)
    rows = np.zeros(2 * len(start_s), INTERVAL)
    rows["t_s"] = np.repeat(start_s, 2)
    rows["width_s"] = 900.0
    rows["pool"] = np.tile([0, 1], len(start_s))
    main = rows["pool"] == 0
    wave = 0.55 - 0.35 * np.cos(2 * np.pi * (rows["t_s"] - 4 * 3600) / 86400.0)
    rows["num_replicas"] = np.where(main, 6.0, 2.0)
    rows["num_arrived"] = (900 * 3 * wave).astype(int)
    rows["num_completed"] = rows["num_arrived"] - 1
    rows["output_tokens"] = np.where(main, 300 * rows["num_completed"], rows["num_completed"])
    rows["running_mean"] = np.where(main, 40.0, 2.0) * wave
    rows["waiting_mean"] = np.where(main, 6.0 * np.maximum(wave - 0.75, 0), 0.0)
    rows["kv_used_mean_frac"] = np.where(main, 0.6, 0.1) * wave
    rows["busy_frac"] = np.where(main, 0.95, 0.4) * wave
    rows["gpu_s"] = rows["num_replicas"] * 900.0 * np.where(main, 4, 1)
    rows["energy_j"] = rows["gpu_s"] * (150 + 450 * rows["busy_frac"])
    rows["margin_frac"] = 1 - rows["busy_frac"]
    rows["growth_stderr_per_s"] = 0.01
    if saturated:
        worst = 2 * 70  # the main pool's, late in the day
        rows["saturated"][worst], rows["margin_frac"][worst], rows["growth_per_s"][worst] = 1, -0.02, 0.5
    return rows


def gaps(num_classes=4):
    """A histogram of gaps between tokens for each class."""
    draw = np.random.default_rng(5)
    return np.stack([count(draw.lognormal(-3.6 + 0.1 * i, 0.3, 20_000)) for i in range(num_classes)])


def facts(**changes):
    """The identity of a made-up run."""
    given = {
        "label": "a day <of> tests",
        "model_id": "a-model",
        "version": "0.0",
        "digest": "0123abcd",
        "seed": 1,
        "horizon_s": HORIZON_S,
        "warmup_s": 600.0,
        "duration_s": HORIZON_S,
        "request_rate_per_s": 0.35,
        "burstiness": 1.0,
        "calibration": {"main": {"engine": "vllm 0.24", "status": "calibrated", "residual_frac": 0.031}},
    }
    return RunFacts(**{**given, **changes})


def finished(num=30_000, *, saturated=False):
    """A finished run and the table of its requests."""
    collector = collect(done(num))
    timeline = intervals(saturated=saturated)
    run = RunData(
        result=summarise(facts(), collector, gaps(), timeline),
        info={"clock": "compiled", "leap": True, "wall_s": 12.3, "requests_per_wall_s": 2439.0, "host": "a-host"},
        histograms=tier_histograms(collector, gaps()),
        timeline=timeline,
        tiers=tuple(tier.name for tier in GROUPS.tiers),
        assumptions=[
            {"name": "turns per conversation", "value": 3.0, "unit": "1", "source": "assumed"},
            {"name": "price of a GPU", "value": 3.0, "unit": "USD/h", "source": "a <b>price</b> list"},
        ],
        scenario_yaml="name: a day of tests\nseed: 1\n",
    )
    return run, requests_table(collector)

"""Workloads fitted to traces: the parts on traffic whose truth is known, the whole on recorded traces."""

import json

import numpy as np
import pytest

from sim import catalog
from sim.errors import TraceError
from sim.spec import Scenario
from sim.spec.workload import Workload
from sim.traffic import build
from sim.traffic.arrivals import FIRST_PROGRAM
from sim.traffic.clients import client_shares
from sim.traffic.fit import SERVICE, Row, fit_trace, goodness, table
from sim.traffic.fit.delays import delays, run_in_s, starts_of
from sim.traffic.fit.lengths import percentiles_of
from sim.traffic.fit.links import links_of
from sim.traffic.fit.model import fit_model
from sim.traffic.fit.recorded import Recorded, recorded_of, shared_prefix_tokens
from sim.traffic.fit.servegen import fit_clients
from sim.traffic.fit.turns import turns_of
from sim.traffic.fit.window import playable, watched
from sim.traffic.traces import Options, read_trace

TRACES = {
    "azure-conv": ("azure2023/AzureLLMInferenceTrace_conv.csv", "azure"),
    "azure-code": ("azure2023/AzureLLMInferenceTrace_code.csv", "azure"),
    "mooncake": ("mooncake/conversation_trace.jsonl", "mooncake"),
}
SERVICES = ["language_m-large", "language_m-mid", "language_m-small", "multimodal_mm-image", "reason_deepseek-r1"]
WHY = "assumed: numbers of a test"
TRUTH = {
    "name": "truth",
    "description": "Conversations whose parameters are known.",
    "input_sequence_length_per_turn": {"distribution_type": "lognormal", "mean": 600, "standard_deviation": 600},
    "input_sequence_length_first_turn": {"distribution_type": "uniform", "min": 1500, "max": 6000},
    "system_prompt": 512,
    "output_sequence_length": {"distribution_type": "exponential", "mean": 300},
    "number_of_turns": {"distribution_type": "geometric", "mean": 2.5},
    "time_between_turns": {"distribution_type": "lognormal", "mean": 200, "standard_deviation": 250, "max": 3000},
    "min_think_s": 1,
    "multi_turn": True,
    "curve": "flat",
    "arrivals": {
        "rate_per_s": 2,
        "rate_per_s_justification": WHY,
        "intensity": {"interval_s": 300, "relative": [0.8, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.2, 1.1, 1, 0.8, 0.8]},
        "intensity_justification": WHY,
        "bursts": [{"share_frac": 1, "mean_size": 3, "spread_s": 8}],
        "bursts_justification": WHY,
    },
}
TRUTH |= {f"{field}_justification": WHY for field in TRUTH if f"{field}_justification" in Workload.model_fields}


@pytest.fixture(scope="module")
def traces(shared):
    folder = shared / "data" / "traces"
    if not folder.is_dir():
        pytest.skip(f"needs recorded traces in {folder}")
    return folder


@pytest.fixture(scope="module")
def seen():
    """The true traffic, seen through a window of one hour."""
    shape = Recorded(np.zeros(0), *np.zeros((2, 0), dtype=np.int64), None, 3600.0, 0.0)
    return watched(playable(Workload.from_dict(TRUTH), 3600.0), 1, SERVICE, shape)


# --- parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spikes", [False, True])
def test_percentile_tables_meet_every_quantile(spikes):
    rng = np.random.default_rng(1)
    values = np.rint(rng.lognormal(5, 1.5, 20_000)) + 1
    if spikes:
        values[rng.random(20_000) < 0.3] = 181
        values[rng.random(20_000) < 0.1] = 4096
    points = percentiles_of(values)
    assert len(points) < 200
    u = np.linspace(0, 1, 1025)
    quantiles = np.quantile(values, u)
    line = np.interp(100 * u, list(points), list(points.values()))
    assert np.all(np.abs(line - quantiles) <= np.maximum(0.5, 0.02 * quantiles) + 0.051)


def test_inferred_conversations_are_those_that_were_generated(seen):
    links = links_of(seen)
    assert shared_prefix_tokens(seen) == 512
    # Every first prompt has two whole blocks behind the prefix, so no link can be missed.
    assert links.num_edits == 0
    later = np.flatnonzero(links.parent >= 0)
    grown = (
        seen.prompt_tokens[later] - seen.prompt_tokens[links.parent[later]] - seen.output_tokens[links.parent[later]]
    )
    assert grown.min() >= 1
    assert links.num_turns.sum() == len(seen)


def test_chances_and_gaps_are_recovered_from_a_window_that_cuts_them_off(seen):
    found = turns_of(seen, links_of(seen))
    # P(another turn) is 0.6 whatever came before; four standard errors of a share among those at risk.
    at_risk = 0.8 * 3600 * 2
    assert found.go_on[0] == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / at_risk) + 0.01)
    assert np.all(np.abs(found.go_on[1:3] - 0.6) < 4 * np.sqrt(0.24 / (at_risk * 0.36)))
    sigma = np.sqrt(np.log1p((250 / 200) ** 2))
    for u, z in ((0.25, -0.6745), (0.5, 0.0), (0.75, 0.6745), (0.9, 1.2816)):
        true = 200 * np.exp(-(sigma**2) / 2 + sigma * z)
        # The standard error of a quantile of ln(gap) is below 1.8 sigma / sqrt(n) at these shares, n above 5,000.
        assert found.quantiles(np.array(u)) == pytest.approx(true, rel=4 * 1.8 * sigma / np.sqrt(5000)), u
    # Without the correction the window's end would take the long gaps away.
    links = links_of(seen)
    later = np.flatnonzero(links.parent >= 0)
    naive = np.quantile(seen.time_s[later] - seen.time_s[links.parent[later]], 0.9)
    assert naive < found.quantiles(np.array(0.9))


def test_starts_are_those_whose_requests_have_the_rate():
    source = playable(Workload.from_dict(TRUTH), 3600.0)
    done = delays(source.turns, source.traffic_class.gap_s)
    # A table of 1024 cells knows the mean of a geometric number only so well.
    assert done[-1] == pytest.approx(2.5, rel=0.02)
    assert 3000 < run_in_s(done) < 30_000
    model = fit_model(watched(source, 2, SERVICE, _window(3600.0)), "again", "a test", SERVICE)
    again = starts_of(model.requests, done)
    true = 2.0 * np.array(TRUTH["arrivals"]["intensity"]["relative"])
    # Smoothed over three intervals and noisy: 170 to 400 conversations in each, in bursts of three.
    assert again.rate_per_s == pytest.approx(true, rel=0.3)
    assert again.rate_per_s.mean() == pytest.approx(2.0, rel=0.1)


def _window(span_s):
    return Recorded(np.zeros(0), *np.zeros((2, 0), dtype=np.int64), None, span_s, 0.0)


def test_a_fitted_model_gives_back_what_it_was_fitted_to(seen):
    model = fit_model(seen, "again", "a test", SERVICE)
    fitted = model.workload
    assert fitted.multi_turn
    assert fitted.system_prompt == 512
    source, true = playable(fitted, 3600.0), playable(Workload.from_dict(TRUTH), 3600.0)
    totals = [[len(watched(s, seed, SERVICE, _window(3600.0))) for seed in range(12)] for s in (source, true)]
    assert np.mean(totals[0]) == pytest.approx(len(seen), rel=0.03)
    assert all(getattr(fitted, f"{field}_justification") for field in ("number_of_turns", "min_think_s"))
    assert Workload.from_yaml(model.text) == fitted


# --- recorded traces ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRACES)
def test_a_fit_to_a_recorded_trace_meets_its_aims(name, traces, tmp_path, capsys, monkeypatch):
    """With few replications: the mean of many is asked by the slow test."""
    monkeypatch.setattr(goodness, "MAX_REPLICATIONS", 40)
    file, trace_format = TRACES[name]
    fitted = fit_trace(traces / file, trace_format, replications=40, say=print)
    shown = capsys.readouterr().out
    assert shown == table(fitted.goodness) + "\n"
    assert [row.quantity for row in fitted.goodness if row.passed is False and "requests/s" not in row.quantity] == []
    path = tmp_path / "fitted.yaml"
    path.write_text(fitted.text)
    assert catalog.load_workload(str(path)) == fitted.workload
    said = _played(path).describe()
    assert said["conversations"] > 1000


def _played(path):
    fleet = {"pools": {"main": {"replicas": 1}}, "paths": {"default": [{"pool": "main", "kind": "generate"}]}}
    return build(
        Scenario.from_dict(
            {
                "name": "played",
                "model": "any",
                "hardware": "any",
                "horizon": "1 h",
                "traffic": {"kind": "sessions", "workload": str(path)},
                "tiers": {"default": {}},
                "fleet": fleet,
            }
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fit_to_a_recorded_trace_meets_every_aim(name, seed, traces):
    file, trace_format = TRACES[name]
    fitted = fit_trace(traces / file, trace_format, seed=100_000 * seed, replications=200)
    assert fitted.passed


def test_a_fit_needs_some_requests(tmp_path):
    path = tmp_path / "short.jsonl"
    rows = [{"timestamp": 1000 * i, "input_length": 5, "output_length": 5, "hash_ids": [i]} for i in range(50)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(TraceError, match="50 requests in 49 s are too few to fit; it takes 100"):
        fit_trace(path, "mooncake")
    with pytest.raises(TraceError, match="0 requests in 0 s are too few to fit"):
        fit_trace(path, "mooncake", blocks=())


def test_smaller_blocks_are_read_as_those_of_512_tokens(tmp_path):
    path = tmp_path / "small.jsonl"
    rows = [
        {"timestamp": i, "input_length": 1100, "output_length": 5, "hash_ids": list(range(i, i + 69))}
        for i in range(120)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = recorded_of(read_trace(path, "timed_trace"), "small")
    # Ids of 16 tokens: the 32nd, the 64th, and the 69th, with which the third block of 512 tokens begins and ends.
    assert list(found.blocks[0]) == [31, 63, 68]
    with pytest.raises(TraceError, match="stands for 100 tokens; a fit takes 512"):
        recorded_of(read_trace(path, "timed_trace", Options(block_tokens=100)), "small")


def test_a_missed_aim_is_no_pass():
    row = Row("x", np.float64(2.0), 1.0, np.float64(0.9), np.float64(1.1), "10 %")
    assert row.passed is False


# --- programs ----------------------------------------------------------------------------------------


def _written(path, rates, cv, kinds=("Gamma",)):
    """A description of clients: one window of each hour of two days."""
    lines = ["client,t_s,rate_rps,iat_cv,arrival_dist,p1,p2"]
    for client, rate in enumerate(rates):
        for t_s in range(0, 2 * 86400, 3600):
            now = rate * (1 + (t_s // 3600) % 24)
            lines.append(f"{client},{t_s},{now:.9g},{cv[client]:.6g},{kinds[client % len(kinds)]},0,0")
    path.write_text("\n".join(lines) + "\n")


def test_clients_are_recovered_from_their_description(tmp_path):
    num, rng = 3000, np.random.default_rng(1)
    shares = client_shares(7, FIRST_PROGRAM, num, 2.0)
    cv = 1.5 * np.exp(rng.standard_normal(num) * np.log(4) / 1.2816)
    path = tmp_path / "clients.csv"
    _written(path, shares, cv, ("Gamma", "Weibull", "Gamma", "Gamma"))
    found = fit_clients(path)
    assert found.fields["num_clients"] == num
    # Four standard errors: sigma / sqrt(2 n).
    assert found.fields["client_rate_sigma"] == pytest.approx(2.0, abs=4 * 2.0 / np.sqrt(2 * num))
    order = np.argsort(cv)
    done = np.cumsum(shares[order])
    assert found.fields["burstiness_cv"] == pytest.approx(cv[order][np.searchsorted(done, 0.5)], rel=1e-3)
    assert found.fields["weibull_frac"] == pytest.approx(shares[1::4].sum(), abs=1e-3)
    assert found.hourly == pytest.approx(np.arange(1, 25) / 12.5, abs=1e-4)


@pytest.mark.parametrize("service", SERVICES)
def test_recorded_clients_have_the_skew_and_burstiness_that_is_generated(service, traces):
    windows = traces / "servegen" / f"{service}_client_windows.csv.gz"
    found = fit_clients(windows)
    assert all(row.passed is not False for row in found.goodness), table(found.goodness)
    stats = json.loads((traces / "_stats" / "servegen_stats.json").read_text())[service]
    weighted = stats["iat_cv_client_rate_weighted"]
    assert found.fields["burstiness_cv"] == pytest.approx(weighted["0.5"], rel=0.01)
    assert found.fields["burstiness_cv_p90"] == pytest.approx(weighted["0.9"], rel=0.01)
    assert found.fields["client_rate_sigma"] == pytest.approx(stats["client_rate_lognormal_sigma"], rel=0.01)
    assert found.fields["weibull_frac"] == pytest.approx(stats["arrival_dist_share_rate_weighted"]["Weibull"], abs=0.01)

"""What each safety design, tier policy and routing policy does: the table of docs/validation.md.

python benchmarks/designs.py play            plays benchmarks/designs.yaml (minutes) and writes results/designs.csv
python benchmarks/designs.py write           puts expectations and results into docs/validation.md
"""

import argparse
import csv
import math
from pathlib import Path

import yaml

import sim
from sim.fleet.build import build
from sim.fleet.run import Player

HERE = Path(__file__).parent
PLAN = HERE / "designs.yaml"
RESULTS = HERE / "results" / "designs.csv"
PAGE = HERE.parent / "docs" / "validation.md"
BEGIN, END = "<!-- designs: begin -->", "<!-- designs: end -->"
OF_SAFETY = (
    "compute_overhead", "gpu_time_frac", "cost_frac", "mean_added_ttft_ms", "false_refusal_frac", "unsafe_caught_frac",
    "num_unsafe_passed",
)  # fmt: skip
OF_ENDINGS = ("blocked", "abandoned", "shed", "timed_out", "refused")
OF_LATENCIES = ("p50_ttft_ms", "p99_ttft_ms", "p50_tpot_ms")
TIERS = ("free", "pro", "api")
PATHS = ("chat", "api")


def plan():
    return yaml.safe_load(PLAN.read_text(encoding="utf-8"))


def scenario_of(plan, design, seed):
    """Meridian-1, thinned, with a design."""
    changes = dict(plan["base"]) | {"seed": seed}
    names = [*design.get("pools", []), *(visit["pool"] for visit in design.get("path", []))]
    for name in dict.fromkeys(name for name in names if name != "main"):
        changes[f"fleet.pools.{name}"] = plan["pools"][name]
    if "path" in design:
        changes |= {f"fleet.paths.{path}": design["path"] for path in PATHS}
    if "load" in design:
        changes["traffic.monthly_users"] = design["load"]
    return sim.load("meridian-1", override=["plain"], set=changes | design.get("set", {}))


def figures(result):
    """The figures of a run that the table has, by name; those of a tier have it behind a colon."""
    found = {name: result[name] for name in OF_LATENCIES}
    found["usd_per_1m_output_tokens"] = result["sim"]["cost"]["usd_per_1m_output_tokens"]
    found["hit_frac"] = result["sim"]["cache"]["hit_frac"]
    found |= {name: result["sim"].get("safety", {}).get(name) for name in OF_SAFETY}
    groups = {"": result["sim"]["endings"]} | {f":{name}": result["sim"]["by_tier"][name] for name in TIERS}
    for mark, group in groups.items():
        if mark:
            found |= {f"{name}{mark}": group[name] for name in OF_LATENCIES}
        found |= {f"{name}_frac{mark}": group[f"num_{name}"] / group["num_requests"] for name in OF_ENDINGS}
    num = result["sim"]["endings"]["num_requests"]
    found["fell_back_frac"] = result["sim"].get("flags", {}).get("num_fell_back", 0) / num
    return found


def play():
    given = plan()
    rows = []
    for design in given["designs"]:
        for seed in given["seeds"]:
            built = build(scenario_of(given, design, seed))
            result = Player(built, "compiled", leap=True, progress=None).play().result
            rows.append({"design": design["name"], "seed": seed} | figures(result))
        last = rows[-1]
        print(design["name"], *(f"{name} {last[name]:.4g}" for name in OF_LATENCIES), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: told(value) for name, value in row.items()} for row in rows)


def told(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def results():
    """Rows of results by design and figure: a value a seed, none where there is none."""
    found = {}
    with RESULTS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row.pop("design")
            row.pop("seed")
            for figure, value in row.items():
                if value:
                    found.setdefault(name, {}).setdefault(figure, []).append(float(value))
    return found


def measured(found, design, expected):
    """Mean over seeds, and its standard error; of a ratio, seed by seed."""
    values = found[design["name"]][expected["figure"]]
    if expected.get("of") == "ratio":
        against = found[design["against"]][expected["figure"]]
        values = [value / other for value, other in zip(values, against, strict=True)]
    return statistics(values)


def statistics(values):
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 or value == 0 else f"{value:.4f}"


def checks(given, found):
    """A row for each expectation."""
    yield "| design | figure | expected | because | found | |"
    yield "|---|---|---|---|---|---|"
    for design in given["designs"]:
        for expected in design["expects"]:
            low, high = expected["low"], expected["high"]
            mean, error = measured(found, design, expected)
            by = " x" if expected.get("of") == "ratio" else ""
            span = f"{number(low)} to {number(high)}{by}" if low < high else f"{number(low)}{by}"
            ok = "" if low <= mean <= high else "**no**"
            cells = (
                design["name"],
                f"`{expected['figure']}`",
                span,
                expected["why"],
                f"{number(mean)} +- {number(error)}",
            )
            yield "| " + " | ".join((*cells, ok)) + " |"


def table(given, found, group, columns):
    """Figures of one group, means over the seeds; a row a design."""
    yield "| design | " + " | ".join(columns.values()) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for design in given["designs"]:
        if design["group"] == group or (group == "routing" and design["name"] == "none"):
            row = found[design["name"]]
            cells = [shown(figure, row.get(figure)) for figure in columns]
            yield f"| {design['name']} | " + " | ".join(cells) + " |"


def shown(figure, values):
    if not values:
        return ""
    mean = statistics(values)[0]
    if "_ms" in figure and figure != "p50_tpot_ms":
        return f"{mean / 1000:.3g}" if mean >= 1 else f"{mean / 1000:.2g}"
    if "_frac" in figure or figure == "compute_overhead":
        return f"{100 * mean:.2g}" if mean < 0.1 else f"{100 * mean:.1f}"
    return number(mean)


LATENCY = {"p50_ttft_ms": "TTFT p50 [s]", "p99_ttft_ms": "p99", "p50_tpot_ms": "tpot p50 [ms]"}
COST = {"usd_per_1m_output_tokens": "USD per 1M output"}
SAFETY = LATENCY | COST | {
    "mean_added_ttft_ms": "added TTFT, mean [s]", "compute_overhead": "compute, over the answers' [%]",
    "gpu_time_frac": "GPU time [%]", "cost_frac": "cost [%]", "false_refusal_frac": "false refusals [%]",
    "unsafe_caught_frac": "unsafe caught [%]", "num_unsafe_passed": "unsafe passed", "abandoned_frac": "left [%]",
    "refused_frac": "too long [%]",
}  # fmt: skip
TIER = {
    "p50_ttft_ms": "TTFT p50 [s]", "p99_ttft_ms": "p99", "p50_ttft_ms:pro": "pro p50", "p99_ttft_ms:pro": "pro p99",
    "p50_ttft_ms:api": "API p50", "p99_ttft_ms:api": "API p99", "p50_ttft_ms:free": "free p50",
    "p50_tpot_ms": "tpot p50 [ms]", **COST, "abandoned_frac": "left [%]", "abandoned_frac:free": "free left",
    "shed_frac": "shed", "timed_out_frac": "timed out",
}  # fmt: skip
ROUTING = (
    LATENCY | {"p99_ttft_ms:free": "free p99 [s]"} | COST | {"hit_frac": "cached [%]", "abandoned_frac": "left [%]"}
)


def page(given, found):
    """The text between the marks."""
    rows = list(checks(given, found))
    missed = sum(row.endswith("**no** |") for row in rows)
    parts = (
        ["Safety designs:", "", *table(given, found, "safety", SAFETY), ""],
        ["Tier policies, 1.3 times what the replicas carry:", "", *table(given, found, "tiers", TIER), ""],
        ["Routing policies:", "", *table(given, found, "routing", ROUTING), ""],
        [f"{len(rows) - 2} expectations, {len(rows) - 2 - missed} met (mean over {len(given['seeds'])} seeds, and its"],
        ["standard error; x: over the reference, seed by seed):", "", *rows],
    )
    return "\n".join(line for part in parts for line in part)


def write():
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{page(plan(), results())}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["play", "write"])
    {"play": play, "write": write}[parser.parse_args().do]()

"""What a run of the plane and a play of the readable model disagree about, in words."""

import math
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from slow_model import Result

TIMES = (
    "arrived_s", "classified_s", "scheduled_s", "first_token_s", "end_s", "transfer_s", "gateway_s", "verdict_s",
    "delay_s",
)  # fmt: skip
SHARES = ("cost_usd", "busy_s", "guard_s")
NUMBERS = (
    "user", "conversation", "turn", "class_id", "language", "ending", "pool", "replica", "prompt_tokens",
    "cached_tokens", "requested_tokens", "output_tokens", "num_preemptions", "attempt", "retry_of", "left", "flags",
)  # fmt: skip
SHARE_TOL = 1e-9  # shares are divided, so never exact


@dataclass(frozen=True)
class PlaneResult:
    """What the plane's side hands over; per-replica arrays are indexed by the replica's global number."""

    records: np.ndarray
    """dtype DONE, in any order."""
    itl: np.ndarray
    """int64[rows, bins]."""
    itl_per_token: np.ndarray
    """The same, a gap before several tokens spread over them."""
    drafts: np.ndarray
    """int64[3]: times that drafts were verified, tokens drafted, tokens accepted."""
    busy_s: np.ndarray
    num_steps: np.ndarray
    free_blocks: np.ndarray
    cached_blocks: np.ndarray
    links: np.ndarray
    tiers: np.ndarray
    spent_s: np.ndarray


def bin_of(gap_s: float) -> int:
    """Bin of a gap: the exponent and six bits of mantissa of a float64, counted from 2**-20 s."""
    (word,) = struct.unpack("<q", struct.pack("<d", gap_s))
    return min(max((word >> 46) - ((1023 - 20) << 6), 0), 38 * 64 - 1)


def compare(plane: PlaneResult, slow: Result, *, time_tol: float = 0.0) -> list[str]:
    """Every difference. `time_tol` is relative, and in seconds near zero: 0 where arithmetic is exact, else 1e-9."""
    found = compare_records(plane, slow, time_tol) + compare_itl(plane.itl, slow.gaps_s, time_tol)
    found += compare_itl(plane.itl_per_token, slow.gaps_per_token_s, time_tol)
    return found + compare_replicas(plane, slow) + compare_drafts(plane, slow) + compare_tiers(plane, slow)


def same(a: float, b: float, rel_tol: float, abs_tol: float = 0.0) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rel_tol, abs_tol=abs_tol)


def compare_records(plane: PlaneResult, slow: Result, time_tol: float) -> list[str]:
    found = []
    records: dict[int, Any] = {}
    for record in plane.records:
        if int(record["serial"]) in records:
            found.append(f"request {record['serial']}: two records")
        records[int(record["serial"])] = record
    share_tol_s = 1e-12 * sum(replica.busy_s for replica in slow.replicas)  # shares may be differences of integrals
    price = max((replica.pool.usd_per_replica_s for replica in slow.replicas), default=0.0)
    for want in slow.records:
        record = records.pop(want["serial"], None)
        if record is None:
            found.append(f"request {want['serial']}: the plane has no record of it")
            continue
        wrong = [name for name in NUMBERS if int(record[name]) != want[name]]
        wrong += [name for name in TIMES if not same(float(record[name]), want[name], time_tol, time_tol)]
        for name in SHARES:
            abs_tol = share_tol_s * (price if name == "cost_usd" else 1.0)
            if not same(float(record[name]), want[name], SHARE_TOL, abs_tol):
                wrong.append(name)
        found += [
            f"request {want['serial']}: {name} is {record[name]!r}, the model says {want[name]!r}" for name in wrong
        ]
    return found + [f"request {serial}: the model knows none such" for serial in records]


def compare_itl(itl: np.ndarray, all_gaps_s: list[list[float]], time_tol: float) -> list[str]:
    """Binned gaps; a gap within `time_tol` of a bin's edge may fall on either side of it."""
    if len(itl) != len(all_gaps_s):
        return [f"{len(itl)} rows of gaps, the model has {len(all_gaps_s)}"]
    found = []
    for row, gaps_s in enumerate(all_gaps_s):
        sure: Counter[int] = Counter()
        either: Counter[int] = Counter()  # by the lower of the two bins
        for gap_s in gaps_s:
            low, high = bin_of(gap_s * (1 - time_tol)), bin_of(gap_s * (1 + time_tol))
            (sure if low == high else either)[low] += 1
        carried = 0  # gaps at the edge below that must have gone up into this bin
        for b, count in enumerate(itl[row].tolist()):
            stayed = count - sure[b] - carried
            if not 0 <= stayed <= either[b]:
                found.append(f"gaps of row {row}, bin {b}: {count}, the model has {sure[b] + carried} to +{either[b]}")
                stayed = min(max(stayed, 0), either[b])
            carried = either[b] - stayed
    return found


def compare_replicas(plane: PlaneResult, slow: Result) -> list[str]:
    found = []
    for r, replica in enumerate(slow.replicas):
        numbers = {
            "num_steps": replica.num_steps,
            "free_blocks": replica.blocks.num_free,
            "cached_blocks": replica.blocks.num_cached,
        }
        for name, want in numbers.items():
            if int(getattr(plane, name)[r]) != want:
                found.append(f"replica {r}: {name} is {getattr(plane, name)[r]}, the model says {want}")
        if not same(float(plane.busy_s[r]), replica.busy_s, SHARE_TOL):
            found.append(f"replica {r}: busy_s is {plane.busy_s[r]!r}, the model says {replica.busy_s!r}")
    return found


def compare_tiers(plane: PlaneResult, slow: Result) -> list[str]:
    found = []
    for number, link in enumerate(slow.links):
        if not same(float(plane.links["num_bytes"][number]), link.num_bytes, SHARE_TOL):
            found.append(f"link {number}: {plane.links['num_bytes'][number]} bytes, the model says {link.num_bytes}")
    for number, counts in enumerate(slow.counts if len(plane.tiers) == len(slow.counts) else ()):
        for name, want in vars(counts).items():
            if (got := int(plane.tiers[name][number])) != want:
                found.append(f"host tier of pool {number}: {name} is {got}, the model says {want}")
    return found


def compare_drafts(plane: PlaneResult, slow: Result) -> list[str]:
    total = sum((replica.drafts for replica in slow.replicas), Counter[str]())
    want = [total["times"], total["drafted"], total["accepted"]]
    return [] if plane.drafts.tolist() == want else [f"drafts are {plane.drafts}, the model says {want}"]

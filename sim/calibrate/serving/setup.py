"""From a point to how it is played: engine, pool, client, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.calibrate.serving.beds import bed_of, first_of, settings_of
from sim.calibrate.serving.engines import nearest_engine, number_of
from sim.calibrate.serving.lengths import answers_of, constant, mean_tokens, prompts_of
from sim.calibrate.serving.library import Library, NotCoveredError
from sim.calibrate.serving.loads import Kind, read_load
from sim.calibrate.serving.notes import MOST_GPUS, Notes, read_notes
from sim.calibrate.serving.rows import Point
from sim.errors import CatalogError, SpecError
from sim.lifecycle.shapes import parameters
from sim.spec import Pool, TokenDistribution
from sim.spec.bed import Bed, Beds, Client, Setting
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.spelling import Resolved

MOST_WEIGHTS_FRAC = 0.55
"""Share of a GPU's memory that weights may take where a source does not say how many GPUs a replica has: *assumed*."""


@dataclass(frozen=True)
class Setup:
    """How a point is played."""

    bed: str
    kind: Kind
    load: float
    """Users, requests per second on the whole system, requests, or sequences of a batch."""
    pool: Pool
    num_replicas: int
    """Replicas of the whole system; of those that prefill only, apart."""
    num_prefill_replicas: int
    """Replicas that prefill for the others; 0: prompts and answers are computed in one place."""
    prompts: TokenDistribution
    answers: TokenDistribution
    client: Client
    num_requests: int | None
    """Requests of an open loop that the source sent, where it says so."""
    note: str
    """What stands in for what the row asks for; nothing where it is there."""

    @property
    def gpu(self) -> str:
        """GPU in the catalogue."""
        return str(self.pool.hardware)

    @property
    def isl(self) -> float:
        """Mean prompt [tokens]."""
        return mean_tokens(self.prompts)

    @property
    def osl(self) -> float:
        """Mean answer [tokens]."""
        return mean_tokens(self.answers)


def make_setup(point: Point, settings: Mapping[str, Setting] | None = None, library: Library | None = None) -> Setup:
    """Return how a point is played.

    Parameters
    ----------
    point
        The point.
    settings
        Settings of the pool, and manners of the client, that take the place of those the bed and the notes give.
    library
        Entries of the catalogue. Default: those it holds now.

    Raises
    ------
    NotCoveredError
        The point cannot be played.
    """
    library = library or Library()
    beds = library.beds
    bed = bed_of(point, beds)
    if bed is None:
        raise NotCoveredError(f"no bed fits engine {point.engine or 'not stated'}")
    load = read_load(point.load)
    if load is None:
        raise NotCoveredError(f"load of unknown form: {point.load}")
    kind: Kind = "offline" if bed.load == "offline" else load.kind
    model, gpu, engine, note = _names(point, bed, library)
    notes = read_notes(point.notes)
    given = dict(settings or {})
    manners = {name: given.pop(name) for name in list(given) if name in Client.model_fields}
    client = bed.client.model_copy(update=manners)
    isl, osl = notes.means or (point.isl, point.osl or ("1" if kind == "decode_step" else ""))
    prompts, answers = prompts_of(point.model, isl, client), answers_of(point.model, osl, client)
    if prompts is None or answers is None:
        raise NotCoveredError("lengths of prompts or answers are not stated")
    if kind == "decode_step" and client.decode_osl:
        kind, decoded = "all_at_once", client.decode_osl
        prompts, answers = constant(max(1, round(mean_tokens(prompts) - decoded / 2))), constant(decoded)
    shape = _shape(point, notes, library.model(model.entry), library.gpu(gpu))
    chosen: dict[str, Any] = {name: values[0] for name, values in settings_of(point, bed, beds).items()}
    chosen |= notes.settings
    chosen |= _precision(point, bed, beds)
    if notes.async_scheduling is not None:
        chosen["async_scheduling"] = notes.async_scheduling
    chosen |= given
    chosen.pop("max_model_len", None)  # lengths are what they were; a limit could only refuse them
    pool = _pool(chosen | shape | {"model": model.entry, "hardware": gpu, "engine": engine, "usd_per_gpu_hour": 1.0})
    gpus = pool.num_gpus_per_replica
    num_prefill, num_replicas = notes.workers or (0, max(1, (notes.num_gpus or gpus) // gpus))
    return Setup(
        bed=bed.name,
        kind=kind,
        load=load.value or float(notes.num_requests or 0),
        pool=pool,
        num_replicas=num_replicas,
        num_prefill_replicas=num_prefill,
        prompts=prompts,
        answers=answers,
        client=client,
        num_requests=notes.num_requests or client.num_requests,
        note=note,
    )


def _names(point: Point, bed: Bed, library: Library) -> tuple[Resolved, str, str, str]:
    """Return the model, GPU and engine in the catalogue, and what stands in for what."""
    model, gpu = library.model_named(point.model), library.gpu_named(point.gpu).entry
    version = bed.version or point.version
    families = library.beds.families.get(bed.engine, (bed.engine,))
    engine = nearest_engine(families, version, library.versions(gpu))
    if engine is None:
        raise NotCoveredError(f"no calibration of engine {bed.engine} on {gpu}")
    wanted, found = number_of(version), number_of(library.versions(gpu)[engine])
    if not engine.startswith(families[0]) or wanted not in (None, found):
        said = f"{engine} ({library.versions(gpu)[engine]}) stands in for {bed.engine} {version}"
        return model, gpu, engine, said.rstrip()
    return model, gpu, engine, ""


def _shape(point: Point, notes: Notes, model: ModelSpec, gpu: GpuSpec) -> dict[str, Any]:
    """Return the parallelism of a replica."""
    ranks = notes.data_parallel_size
    stated = int(float(point.tp)) if point.tp else None
    if "ML.ENERGY" in point.source:
        stated = notes.num_gpus  # its column counts something else where experts are spread
    if notes.run_gpus is not None:
        ranks = notes.run_gpus if stated == 1 else 1
        stated = notes.run_gpus
    if stated is None:
        stated = _fewest_gpus(model, gpu, notes.num_gpus or 1)
    if not model.is_moe:
        ranks = 1
    size = max(1, stated // ranks)
    shape: dict[str, Any] = {"tensor_parallel_size": size, "data_parallel_size": ranks}
    if point.pp:
        shape["pipeline_parallel_size"] = int(float(point.pp))
    if model.is_moe and notes.enable_expert_parallel:
        shape["enable_expert_parallel"] = True
    elif model.is_moe:
        shape["expert_parallel_size"] = min(notes.run_expert_gpus or notes.expert_parallel_size, size * ranks)
    return shape


def _fewest_gpus(model: ModelSpec, gpu: GpuSpec, num_gpus: int) -> int:
    """Return the fewest GPUs whose memory 8-bit weights fill to `MOST_WEIGHTS_FRAC` at most."""
    memory, count = float(gpu.hbm_bytes), 1
    while count < min(MOST_GPUS, num_gpus) and parameters(model).total > MOST_WEIGHTS_FRAC * memory * count:
        count *= 2
    return count


def _precision(point: Point, bed: Bed, beds: Beds) -> dict[str, Any]:
    """Return weights, and activations where they differ from what the weights imply."""
    text = f"{point.model} {point.precision}"
    notes = f"{text} {point.notes}" if "AccelMark" in point.source else text
    found = first_of(bed.weights, text) or first_of(beds.weights, notes)
    if found is None:
        raise NotCoveredError(f"precision not known: {point.precision}")
    weights, _, activations = found.partition("/")
    return {"weights": weights} | ({"activations": activations} if activations else {})


def _pool(fields: dict[str, Any]) -> Pool:
    """Return the pool; what contradicts a policy that a row brings with it is left out."""
    if fields.get("batch_policy") in ("static", "prefill_first"):
        fields["async_scheduling"] = None
    fields["max_num_batched_tokens"] = max(fields["max_num_batched_tokens"], fields["max_num_seqs"])
    try:
        return Pool.from_dict(fields)
    except (SpecError, CatalogError) as error:
        raise NotCoveredError(str(error).replace("\n", "; ")) from None

"""How long engines take to load a model: measured cells, and the form fitted to them."""

from __future__ import annotations

from sim.spec.base import NonNegativeNumber, PositiveInt, PositiveNumber, PositiveSeconds, Seconds, Spec, Text


class LoadCell(Spec):
    """Loads of one model by one engine on one machine."""

    gpu: Text
    """GPU as the machine calls it."""
    model: Text
    """Checkpoint."""
    precision: Text
    """Precision of the weights as published."""
    num_gpus: PositiveInt
    """GPUs of the replica."""
    engine: Text
    """Engine and version."""
    weights_gb: PositiveNumber
    """Size of the weights of the whole replica [GB]."""
    num_runs: PositiveInt
    """Loads timed."""
    min_s: PositiveSeconds
    """Shortest [s]."""
    median_s: PositiveSeconds
    """Median [s]."""
    max_s: PositiveSeconds
    """Longest [s]."""


class ModelLoad(Spec):
    """Time to load a model: lognormal about engine_factor x (base_s + s_per_gb x GB + several_gpus_s)."""

    source: Text
    """Where the loads were published."""
    base_s: Seconds
    """Time of an engine without weights [s]."""
    s_per_gb: NonNegativeNumber
    """Time for each GB of weights of the whole replica [s]."""
    several_gpus_s: Seconds
    """Time more where a replica has several GPUs [s]."""
    machine_log_sd: NonNegativeNumber
    """Deviation of the logarithm between machines."""
    run_log_sd: NonNegativeNumber
    """Deviation of the logarithm between loads of one machine."""
    machine_factor: dict[Text, PositiveNumber]
    """Factor of each machine; their geometric mean is 1."""
    engine_factor: dict[Text, PositiveNumber]
    """Factor of each engine and version, on the machines that ran it beside others."""
    cells: tuple[LoadCell, ...]
    """What the form was fitted to."""

    def engine_of(self, engine: str) -> str:
        """Return the measured engine that stands for a pool's: the newest of its family, else vLLM's newest."""
        family = engine.split("-", maxsplit=1)[0]
        measured = [name for name in self.engine_factor if name.split()[0] == family]
        measured = measured or [name for name in self.engine_factor if name.split()[0] == "vllm"]
        return max(measured, key=lambda name: [int(part) for part in name.split()[1].split(".")])

    def median_s(self, weights_gb: float, num_gpus: int, engine: str) -> float:
        """Return the median time that a replica takes to load [s]."""
        more_s = self.several_gpus_s if num_gpus > 1 else 0.0
        return self.engine_factor[engine] * (self.base_s + self.s_per_gb * weights_gb + more_s)

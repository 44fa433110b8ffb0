"""All formats by name, and how the format of a file is told from its beginning."""

import contextlib
import re
from pathlib import Path
from typing import Final

from sim.errors import Problem, TraceError, did_you_mean
from sim.traffic.traces.azure import AZURE
from sim.traffic.traces.burstgpt import BURSTGPT
from sim.traffic.traces.files import BROKEN, opened, utf16
from sim.traffic.traces.format import Format, Head
from sim.traffic.traces.inference_perf import REQUESTS, SHARED_PREFIX
from sim.traffic.traces.mooncake import MOONCAKE, TIMED_TRACE
from sim.traffic.traces.parquet import PARQUET
from sim.traffic.traces.servegen import SERVEGEN
from sim.traffic.traces.sharegpt import SHAREGPT
from sim.traffic.traces.vidur import VIDUR
from sim.traffic.traces.vllm import CUSTOM

FORMATS: Final[dict[str, Format]] = {
    kind.name: kind
    for kind in (
        PARQUET,
        AZURE,
        BURSTGPT,
        MOONCAKE,
        TIMED_TRACE,
        SERVEGEN,
        SHAREGPT,
        CUSTOM,
        SHARED_PREFIX,
        REQUESTS,
        VIDUR,
    )
}
HEAD_BYTES = 1 << 16
_KEY: Final = re.compile(r'"(\w+)"\s*:')
CLIENTS: Final = frozenset({"client", "t_s", "rate_rps"})


def format_of(path: Path, name: str = "auto") -> Format:
    """The format of a name, or, where it is auto, of the file's shape."""
    if name != "auto":
        if name not in FORMATS:
            raise TraceError(f'"{name}" is no trace format. {did_you_mean(name, FORMATS)}')
        return FORMATS[name]
    if describes_clients(path):
        raise TraceError(Problem(_DESCRIBES_CLIENTS, str(path)))
    head = _head(path)
    for kind in FORMATS.values():
        if kind.recognises(head):
            return kind
    if not head.start:
        raise TraceError(Problem("the file is empty", str(path)))
    for kind in FORMATS.values():
        if missing := kind.lacks(head):
            message = f"looks like {kind.name}, but has no {', '.join(missing)}; it takes {kind.shape}"
            raise TraceError(Problem(message, str(path), 1))
    shapes = "; ".join(f"{kind.name}: {kind.shape}" for kind in FORMATS.values())
    raise TraceError(Problem(f"looks like no trace. Say the format, or give one of: {shapes}", str(path), 1))


def describes_clients(path: Path) -> bool:
    """Whether a folder or a file is ServeGen's description of clients; raises TraceError where it cannot be read."""
    if path.is_dir():
        return any(path.glob("chunk-*-trace.csv*"))
    return _head(path).columns >= CLIENTS


_DESCRIBES_CLIENTS = (
    "describes clients, not requests: it cannot be replayed. Generate requests with ServeGen (format servegen), "
    "or fit the programs of a scenario to it: tokenfleet traffic --fit"
)


def _head(path: Path) -> Head:
    data = b""
    with opened(path) as file, contextlib.suppress(*BROKEN):  # a damaged end is the reader's to refuse or repair
        while len(data) < HEAD_BYTES and (more := file.read1(HEAD_BYTES)):  # type: ignore[attr-defined]
            data += more
    coding = utf16(data)
    text = data.decode(coding or "utf-8", "replace").lstrip("\ufeff")
    first = text.lstrip()
    columns = frozenset(cell.strip() for cell in text.partition("\n")[0].split(","))
    return Head(data[:4], columns, frozenset(_KEY.findall(text)), first[:1])

"""How the plane is compiled: `jit`, typed rows at an address, and a cache that knows when it is stale.

Three builds of the same source:

* compiled (the default): numba, no reference counting, a row is one pointer;
* checked (`TOKENFLEET_CHECKED=1`): compiled too, but every row access tests table and index;
* plain (`NUMBA_DISABLE_JIT=1`): ordinary Python on the same memory, with the same tests.

Each compiled build has a cache folder of its own, named by a digest of every plane source, the versions of
numba and numpy, the Python version and the build. numba by itself looks at one source file only, so a record
type changed in another file would meet machine code with old offsets.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar
from zlib import crc32

import numba
import numpy as np
from llvmlite import ir
from numba import config, from_dtype, njit, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

PLAIN = bool(config.DISABLE_JIT)
CHECKED = os.environ.get("TOKENFLEET_CHECKED", "") not in ("", "0")
BORROWED = ("traffic/draws.py", "traffic/arrivals.py", "metrics/records.py", "metrics/histogram.py")
"""Files of other layers whose functions, record types or constants are compiled into the plane."""
CACHE_LINE = ir.PointerType(ir.IntType(8))
READ, KEEP, DATA = (ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))
"""Arguments of LLVM's prefetch: for reading, into all levels, not instructions."""
LINE_BYTES = 64
HEADER_BYTES = 64
"""Before row 0 of every table: the table's mark and its number of rows (int64 each), padded to a cache line."""


def source_digest() -> str:
    """Digest of everything the machine code depends on: the plane's sources, those it borrows, versions, build."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in [*sorted(here.glob("*.py")), *(here.parent / name for name in BORROWED)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for version in (numba.__version__, np.__version__, sys.version, f"checked={CHECKED}"):
        digest.update(version.encode() + b"\0")
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where this build's machine code is kept: `TOKENFLEET_CACHE_DIR`, else the user's cache folder."""
    given, base = os.environ.get("TOKENFLEET_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    root = Path(given) if given else (Path(base) if base else Path("~/.cache").expanduser()) / "tokenfleet"
    return root / f"plane-{source_digest()}"


def drop_stale_caches(folder: Path, max_age_s: float = 30 * 86400.0) -> None:
    """Mark a cache folder as used, and remove its siblings that nobody has used for `max_age_s`."""
    try:
        os.utime(folder)
        for other in folder.parent.glob("plane-" + "[0-9a-f]" * 16):
            if time.time() - other.stat().st_mtime > max_age_s:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:  # somebody else tidies, or the folder is read-only: then it stays as it is
        return


def usable(folder: Path) -> bool:
    """Whether machine code can be kept there; else numba would keep it elsewhere, under a name without our digest."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


_CACHE = str(cache_folder()) if not PLAIN and usable(cache_folder()) else ""
"""Empty: keep nothing, compile at every start."""


def jit(function: F) -> F:
    """Compile a plane function: nopython, IEEE arithmetic without Python's checks, no allocation possible.

    It is compiled for one set of types (see `widen`), so two processes that compile at once write the same entry (numba
    replaces files atomically) and either may win.
    """
    if PLAIN:
        return function
    before, config.CACHE_DIR = config.CACHE_DIR, _CACHE  # read when the dispatcher is made, and only then
    try:
        inner = "address" not in inspect.signature(function).parameters  # called by compiled functions only
        compiled = njit(
            cache=_CACHE != "", error_model="numpy", nogil=True, _nrt=False,
            no_cfunc_wrapper=True, no_cpython_wrapper=inner,
        )(function)  # fmt: skip
    finally:
        config.CACHE_DIR = before
    template = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template(tuple(map(widen, args)), kws)
    return compiled  # type: ignore[no-any-return]


def widen(kind: types.Type) -> types.Type:
    """The type that a compiled function takes where it is given `kind`.

    Whole numbers are int64, whatever their width in a table or their constant value: numba would compile a function
    anew for each.
    """
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


def jit_with(function: F, **callees: Any) -> F:
    """Compile a plain function of another layer, with compiled functions in place of those it calls by name."""
    source: Any = function
    return jit(FunctionType(source.__code__, {**source.__globals__, **callees}, source.__name__))  # type: ignore[return-value]


class PlainRow:
    """A row in the plain build: its fields are attributes (of numpy's records, one called `base` is not)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: np.void) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getattr__(self, name: str) -> Any:
        value = self._fields[name]
        return np.int64(value) if isinstance(value, np.int32 | np.int8) else value  # numba's integers are 64 bits wide

    def __setattr__(self, name: str, value: Any) -> None:
        self._fields[name] = value


def mark_of(dtype: np.dtype[Any]) -> int:
    """The number that marks a table of this row type."""
    return crc32(repr(dtype.descr).encode())


def rows(dtype: np.dtype[Any]) -> Callable[[Any, Any], Any]:
    """`at(address, i)`: row i of the table of `dtype` whose row 0 is at `address`, as a record (no copy).

    The only way from an address to a row. Raises IndexError in the checked and plain builds if the address
    is not the start of such a table or the index is outside it.
    """
    mark, size = mark_of(dtype), dtype.itemsize
    message = f"row outside its table, or another table's address: {dtype.names}"
    if PLAIN:

        def plain_at(address: Any, i: Any) -> Any:
            address, i = int(address), int(i)
            found, length = (ctypes.c_int64 * 2).from_address(address - HEADER_BYTES)
            if found != mark or not 0 <= i < length:
                raise IndexError(message)
            memory = (ctypes.c_char * size).from_address(address + i * size)
            return PlainRow(np.frombuffer(memoryview(memory), dtype)[0])

        return plain_at
    record = from_dtype(dtype)

    @intrinsic
    def at(typing_context: Any, address: Any, i: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            start, index = (
                context.cast(builder, value, kind, types.int64)
                for value, kind in zip(arguments, signature.args, strict=True)
            )
            word = start.type
            if CHECKED:
                head = builder.inttoptr(builder.sub(start, word(HEADER_BYTES)), word.as_pointer())
                length = builder.load(builder.gep(head, [word(1)]))
                good = builder.and_(
                    builder.icmp_signed("==", builder.load(head), word(mark)),
                    builder.icmp_unsigned("<", index, length),
                )
                with builder.if_then(builder.not_(good), likely=False):
                    context.call_conv.return_user_exc(builder, IndexError, (message,))
            offset = builder.mul(index, word(size))
            return builder.inttoptr(builder.add(start, offset), context.get_value_type(record))

        return record(address, i), build

    return at  # type: ignore[no-any-return]


def prefetch_plainly(row: Any) -> None:
    """In the plain build there is nothing to be early with."""


@intrinsic
def prefetch_compiled(typing_context: Any, row: Any) -> Any:
    """One prefetch instruction a cache line."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = builder.bitcast(arguments[0], CACHE_LINE)
        kind = ir.FunctionType(ir.VoidType(), [CACHE_LINE, ir.IntType(32), ir.IntType(32), ir.IntType(32)])
        call = builder.module.declare_intrinsic("llvm.prefetch", [CACHE_LINE], kind)
        for offset in range(0, row.size, LINE_BYTES):
            line = builder.gep(address, [ir.Constant(ir.IntType(64), offset)], source_etype=ir.IntType(8))
            builder.call(call, [line, READ, KEEP, DATA])
        return context.get_dummy_value()

    return types.none(row), build


prefetch = prefetch_plainly if PLAIN else prefetch_compiled
"""`prefetch(row)`: have the processor fetch a row, which will be needed before long."""


def allocate(num_rows: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A zeroed table on a cache-line boundary, with the header that the checked builds read."""
    raw = np.zeros(HEADER_BYTES + num_rows * dtype.itemsize + 64, "u1")
    begin = -raw.ctypes.data % 64
    raw[begin : begin + 16].view("i8")[:] = (mark_of(dtype), num_rows)
    begin += HEADER_BYTES
    return raw[begin : begin + num_rows * dtype.itemsize].view(dtype)

"""What was changed to read a bad trace, by kind; nothing is changed unless `repair` is asked for.

::

    report = Report(repair=True)
    for block in read_trace(path, report=report): ...
    print(report)                    # 12 rows moved to their place in time (first: line 7)

Every row that was seen is kept or counted: `num_rows == num_kept + num_dropped + sum(left_out.values())`.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = {
    "row": "rows that cannot be read, dropped",
    "length": "rows with negative, zero or absurd lengths, dropped",
    "time": "rows with an impossible time, dropped",
    "duplicate": "rows that repeat another, dropped",
    "cut_off": "damaged ends of a file, left out from there on",
    "order": "rows moved to their place in time",
    "blank": "blank lines left out",
    "bytes": "lines that are not UTF-8, read as Latin-1",
    "recoded": "lines in UTF-16, read as such",
}
"""What a repair does, by kind."""
DROPS: Final = ("row", "length", "time", "duplicate")
"""The kinds that lose a row."""


@dataclass
class Report:
    """What became of the rows of a trace."""

    repair: bool = False
    """Whether flaws may be repaired; else they are refused."""
    num_rows: int = 0
    """Rows seen: headers, blank lines and what a damaged end left of a row not counted."""
    num_kept: int = 0
    """Rows handed on."""
    counts: Counter[str] = field(default_factory=Counter)
    """Repairs made, by kind (keys of KINDS)."""
    first_line: dict[str, int] = field(default_factory=dict)
    """Where the first repair of a kind was made."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that a format's own rule leaves out, by reason: no repair."""

    @property
    def num_dropped(self) -> int:
        """Rows lost to repairs."""
        return sum(self.counts[kind] for kind in DROPS)

    @property
    def num_changes(self) -> int:
        """All repairs made."""
        return self.counts.total()

    def note(self, kind: str, line: int, number: int = 1) -> None:
        """Count a repair."""
        if number:
            self.counts[kind] += number
            self.first_line.setdefault(kind, line)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {
            "rows": self.num_rows,
            "kept": self.num_kept,
            "repairs": {kind: self.counts[kind] for kind in KINDS if self.counts[kind]},
            "left_out": dict(self.left_out),
        }

    def __str__(self) -> str:
        said = [
            f"{self.counts[kind]:,} {what} (first: line {self.first_line[kind]:,})"
            for kind, what in KINDS.items()
            if self.counts[kind]
        ]
        said += [f"{number:,} {reason} left out" for reason, number in self.left_out.items()]
        return "\n".join(said) or "nothing changed"

"""Tables of text: for the terminal as they are, for the report as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from nacre.tools.bd_rate import Difference

Table = list[list[str]]  # heading and rows, of one length


def cell(value: Difference | str, unit: str) -> str:
    """A difference with the interval that it was taken over in brackets, or in short why there is none."""
    if isinstance(value, str):
        return "no overlap" if "overlap" in value else "no curve"
    return f"{value.value:+.2f}{unit} ({value.low:.4g}..{value.high:.4g})"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

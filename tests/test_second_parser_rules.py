"""The second parsers stay what makes them worth having: short, and of no line in common with the product."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCES = [
    (Path(__file__).parent / name).read_text()
    for name in (
        "second_parser.py",
        "second_network.py",
        "second_sequence_parser.py",
        "second_motion.py",
        "second_frames.py",
    )
]
MAX_LINES = 400


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_short(source: str) -> None:
    assert len(source.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("source", SOURCES)
def test_it_imports_nothing_of_the_product(source: str) -> None:
    nodes = list(ast.walk(ast.parse(source)))
    relative = [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not relative
    assert not [name for name in imported if name.partition(".")[0] in ("nacre", "golden", "sequences", "conftest")]
    assert not imported & {"importlib", "runpy", "subprocess"}
    assert not [node.lineno for node in nodes if isinstance(node, ast.Name) and node.id == "__import__"]

"""The second parser stays what makes it worth having: short, and of no line in common with the product."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = (Path(__file__).parent / "second_parser.py").read_text()
MAX_LINES = 400


def test_it_is_short() -> None:
    assert len(SOURCE.splitlines()) <= MAX_LINES


def test_it_imports_nothing_of_the_product() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE)))
    relative = [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not relative
    assert not [name for name in imported if name.partition(".")[0] in ("nacre", "golden", "conftest")]
    assert not imported & {"importlib", "runpy", "subprocess"}
    assert not [node.lineno for node in nodes if isinstance(node, ast.Name) and node.id == "__import__"]

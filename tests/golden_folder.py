"""Folders of golden streams: NAME.ncr, what it decodes to as NAME.png, and index.json with an entry for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PIL import Image


class Made(NamedTuple):
    """A stream, its entry in the index, and the picture or sheet of frames that is kept of it, if one is."""

    data: bytes
    entry: dict[str, Any]
    picture: NDArray[Any] | None


def add_missing(folder: Path, names: Iterable[str], make: Callable[[str], Made]) -> list[str]:
    """Make the streams that are not there yet, and give their names; RuntimeError where a stream lacks its entry."""
    folder.mkdir(exist_ok=True)
    index_path = folder / "index.json"
    index: dict[str, Any] = json.loads(index_path.read_text()) if index_path.exists() else {}
    paths = {name: folder / f"{name}.ncr" for name in names}
    for name, path in paths.items():
        if path.exists() != (name in index):
            msg = f"{name}: the stream {'is not in' if path.exists() else 'is missing, but it is in'} the index"
            raise RuntimeError(msg)
    missing = [name for name in paths if name not in index]
    for name in missing:
        made = make(name)
        index[name] = made.entry
        paths[name].write_bytes(made.data)
        if made.picture is not None:
            Image.fromarray(made.picture).save(paths[name].with_suffix(".png"), optimize=True)
        index_path.write_text(json.dumps(index, indent=1) + "\n")
    return missing

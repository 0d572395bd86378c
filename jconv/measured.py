"""What was measured: for a step of a program, the milliseconds that each algorithm took.

A step is a form of a geometry with the dtypes of operands and result; its key is a string that a
person can read. Two tables are asked, the user's own before the one that comes with jconv:

    tuned-<device>-jax-<version>-jaxlib-<version>.json in the user's cache directory
    jconv/tables/<device>.json

The first that knows a usable algorithm decides, so a table may say anything: what is damaged or
unknown in it is passed over.
"""

import functools
import importlib.metadata
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jconv import cache, onednn
from jconv.geometry import Windows

SHIPPED = Path(__file__).parent / "tables"

Times = dict[str, float]  # milliseconds of each algorithm


class Table(NamedTuple):
    """Times by the keys of steps, and how they came to be known."""

    reason: str
    entries: dict[str, Any]

    def times(self, key: str) -> Times:
        entry = self.entries.get(key)
        if not isinstance(entry, dict):
            return {}
        return {
            name: float(ms)
            for name, ms in entry.items()
            if type(ms) in (int, float) and 0 < ms < math.inf
        }


def key(form: str, geometry: Windows, dtypes: tuple[Any, ...]) -> str:
    """The name of a step.

    >>> key("pool_sum", Windows((8,), (3,), (2,), ((1, 1),), (1,), (1,)), ("float32", "float32"))
    'pool_sum size=(8,) window=(3,) stride=(2,) padding=((1,1),) dilation=(1,) base_dilation=(1,)
     float32 float32'
    """
    fields = (f"{name}={str(value).replace(' ', '')}" for name, value in vars(geometry).items())
    return " ".join([form, *fields, *map(str, dtypes)])


@functools.cache
def device(platform: str) -> str | None:
    """The kind of this process's devices on `platform`, for CPUs with a digest of the processor;
    None where it has none."""
    try:
        kind = str(jax.local_devices(backend=platform)[0].device_kind)
    except RuntimeError:
        return None
    return f"{kind} {onednn.processor()}" if platform == "cpu" else kind


@functools.cache
def tables(platform: str) -> tuple[Table, ...]:
    """What is known of this process's devices on `platform`, read once."""
    kind = device(platform)
    if kind is None:
        return ()
    return (
        Table("measured by tune", cache.read(_tuned(kind))),
        Table(f"measured on {kind}", _read(SHIPPED / _file(kind))),
    )


def remember(kind: str, entries: dict[str, Times]) -> Path | None:
    """Adds `entries` to the user's table; where it is, None if it cannot be written."""
    name = _tuned(kind)
    stored = cache.update(name, _merged(cache.read(name), entries))
    tables.cache_clear()
    return cache.directory() / f"{name}.json" if stored else None


def write(folder: Path, kind: str, entries: dict[str, Times]) -> Path:
    """Adds `entries` to the table of `kind` in `folder`, as it comes with jconv."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _file(kind)
    before = _read(file)
    content = json.dumps(before | _merged(before, entries), indent=1, sort_keys=True)
    file.write_text(content + "\n", encoding="utf-8")
    tables.cache_clear()
    return file


def _merged(before: dict[str, Any], entries: dict[str, Times]) -> dict[str, Any]:
    """`entries`, and what was known of other algorithms: a portable context measures a few."""
    known = Table("", before)
    return {name: known.times(name) | times for name, times in entries.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _tuned(kind: str) -> str:
    jaxlib = importlib.metadata.version("jaxlib")
    return _slug(f"tuned {kind} jax {jax.__version__} jaxlib {jaxlib}")


def _file(kind: str) -> str:
    return f"{_slug(kind)}.json"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text)

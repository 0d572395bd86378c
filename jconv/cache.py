"""Small facts about this machine, remembered in the user's cache directory.

A file that is missing, damaged or foreign counts as empty; one that cannot be written is not an
error: what it would have remembered is found out again.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def directory() -> Path:
    """`JCONV_CACHE_DIR` of the environment, or where the user's caches are."""
    chosen = os.environ.get("JCONV_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "jconv"


def read(name: str) -> dict[str, Any]:
    """All that is remembered under `name`."""
    try:
        content = json.loads((directory() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def update(name: str, facts: dict[str, Any]) -> bool:
    """Adds `facts` to what is remembered under `name`; whether that was possible. The file is
    replaced in one step, so that a reader never sees half of it."""
    temporary = None
    try:
        directory().mkdir(parents=True, exist_ok=True)
        content = json.dumps(read(name) | facts, indent=1, sort_keys=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=directory(), prefix=f"{name}.", delete=False
        ) as file:
            temporary = file.name
            file.write(content + "\n")
        os.replace(temporary, directory() / f"{name}.json")
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
    return True


def digest(text: str) -> str:
    """A short name for a long description."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

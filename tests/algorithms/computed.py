from collections.abc import Iterable

import jconv
from jconv import select


def computed(forms: Iterable[str]) -> list[tuple[str, str]]:
    """Every algorithm with each of these forms that it computes."""
    return [
        (name, form)
        for name in jconv.algorithms()
        for form in forms
        if hasattr(select.load(name), form)
    ]

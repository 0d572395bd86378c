"""What holds for every figure."""

import warnings
from typing import Any

from matplotlib.figure import Figure


def legible(figure: Figure) -> Figure:
    """`figure`, after it was drawn without a warning and with nothing cut off at its borders."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    drawn, sheet = figure.get_tightbbox(), figure.bbox_inches
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= sheet.x1 + 0.01
    assert drawn.y1 <= sheet.y1 + 0.01
    return figure


def texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]

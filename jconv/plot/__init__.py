"""Arrays in, matplotlib figures out.

Every function returns a `matplotlib.figure.Figure`: `savefig` writes it, `suptitle` and `axes` add
to it. Nothing is shown or kept, and matplotlib's state is not touched. Colours are told apart by
colour-blind readers; those of signed values are white at 0.
"""

from jconv.plot.grids import (
    feature_maps as feature_maps,
    kernels as kernels,
    responses as responses,
)
from jconv.plot.learning_curves import learning_curves as learning_curves
from jconv.plot.receptive_field import receptive_field as receptive_field
from jconv.plot.segmentation import segmentation as segmentation
from jconv.plot.steps import steps as steps
from jconv.plot.tables import confusion_matrix as confusion_matrix, heat_map as heat_map

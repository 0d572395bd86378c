"""torchvision's Python code: all that loads beside the CPU build of PyTorch, and all that is used.

Its compiled operators need another build, so the module that registers them is left out.
"""

import sys
import types
from typing import Any

from tests.torch_twin import required

META = "torchvision._meta_registrations"
sys.modules.setdefault(META, types.ModuleType(META))
torchvision: Any = required("torchvision")

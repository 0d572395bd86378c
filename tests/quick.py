"""Quick compilation, for tests of JAX's rules rather than of XLA's code.

Not for gradients of whole networks with pools: what XLA's older emitters make of these is wrong.
"""

from functools import partial
from typing import Any

import jax

OPTIONS: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
if jax.__version_info__ < (0, 11):  # later there are no other emitters
    OPTIONS["xla_cpu_use_fusion_emitters"] = False

# Two thirds of a small function's compile time go into making it fast.
quick_jit = partial(jax.jit, compiler_options=OPTIONS)

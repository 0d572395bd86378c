"""Eight virtual CPU devices, and how many examples the property tests draw.

HYPOTHESIS_PROFILE=fuzz draws many random examples instead of the same few.
"""

import os

import jax
from hypothesis import HealthCheck, settings

jax.config.update("jax_num_cpu_devices", 8)  # has an effect only before jax first computes

# No deadline: the first call of every new shape compiles. For the same reason generation is slow.
settings.register_profile(
    "default",
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz", settings.get_profile("default"), max_examples=1000, derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

"""Eight virtual CPU devices, compilations shared and short, and how many examples the property
tests draw.

HYPOTHESIS_PROFILE=fuzz draws many random examples instead of the same few, and lets LLVM optimise
programs as it does for users.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_num_cpu_devices", 8)  # has an effect only before jax first computes

# XLA's own passes all run; what LLVM adds to them takes most of the time of the tests.
if os.environ.get("HYPOTHESIS_PROFILE") != "fuzz":
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {flags}".strip()

# Workers, and later runs, share what each compiles: thousands of small programs.
CACHE = Path(__file__).parents[1] / ".jax_cache"
for name, value in {
    "jax_compilation_cache_dir": str(CACHE),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)  # for processes that tests start

# What jconv knows of this machine is not the user's: one proof of oneDNN, and nothing tuned.
os.environ["JCONV_CACHE_DIR"] = str(CACHE / "jconv")

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


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_module() -> Iterator[None]:
    """Thousands of programs kept until the end would take more memory than there is."""
    yield
    jax.clear_caches()

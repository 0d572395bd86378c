"""Imports run down a ladder, and `import jconv` needs jax alone."""

import ast
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jconv

ROOT = Path(jconv.__file__).parent

# Every module of the package, the lowest first. A module imports from lower rungs only, never from
# its own; "folder.*" is all of a folder. `jconv` is what its `__init__` re-exports.
LADDER: tuple[tuple[str, ...], ...] = (
    ("arguments", "cache"),
    ("geometry",),
    ("windows",),
    ("shapes", "operands", "gather", "compat", "onednn"),
    ("primitives.rules",),
    ("primitives.conv", "primitives.pool"),
    ("dynamic",),
    ("primitives.dynamic", "configuration"),
    ("algorithms.product", "algorithms.unrolled"),
    ("algorithms.*", "measured"),
    ("select",),
    ("lowering", "replacements"),
    ("ops.conv", "ops.pool", "ops.general", "ops.local"),
    ("ops.adaptive", "ops.depthwise", "ops.group", "ops.patches", "ops.unpool"),
    ("ops.resample",),
    ("accelerate", "explain", "workloads"),
    ("tune", "sweep"),
    ("jconv",),
    ("analysis.fields", "analysis.spans", "analysis.table", "analysis.tracing"),
    ("analysis.rules",),
    ("analysis.axis_rules", "analysis.position_rules", "analysis.window_rules"),
    ("analysis.walk", "analysis.operations"),
    ("analysis.receptive_field", "analysis.program"),
    ("analysis.liveness", "analysis.parts", "analysis.timing"),
    ("analysis.summary", "analysis.cost", "analysis.effective", "analysis.structure"),
    ("analysis.equivariance",),
    ("models.pickles", "models.layers", "models.norms", "models.network"),
    ("models.checkpoints", "models.blocks", "models.pools", "models.zoo"),
    ("models.residual",),
    ("models.alexnet", "models.resnet", "models.tcn", "models.unet", "models.vgg"),
    (
        "models.sweep",
        "models.group",
        "models.fcn",
        "models.resnet3d",
        "models.segmentation",
        "models.weights",
        "models.export",
    ),
    ("models.deeplab",),
    ("models",),
    ("pictures",),
    ("inference", "terminal", "plot.style", "plot.arrays"),
    (
        "plot.grids",
        "plot.learning_curves",
        "plot.receptive_field",
        "plot.segmentation",
        "plot.steps",
        "plot.tables",
    ),
    ("plot",),
    ("experiment", "report"),
    (
        "training.augment.boxes",
        "training.data.examples",
        "training.data.formats.files",
        "training.log",
        "training.metrics",
        "training.optimizer",
        "training.sharding",
    ),
    (
        "training.augment.augmentation",
        "training.data.embedded",
        "training.data.folders",
        "training.data.formats.arrays",
        "training.data.formats.cifar",
        "training.data.formats.idx",
        "training.data.formats.table",
        "training.data.formats.wav",
        "training.data.loading",
        "training.tasks",
    ),
    (
        "training.augment.geometry",
        "training.augment.mixing",
        "training.augment.values",
        "training.data.formats",
        "training.data.generated",
        "training.step",
    ),
    ("training.augment", "training.checkpoint", "training.evaluation"),
    ("training.loop",),
    ("commands.networks", "commands.options"),
    ("commands.fields", "commands.pictures", "commands.programs", "commands.report"),
    ("commands.data", "commands.explain"),
    ("commands.learning",),
    ("commands.runs",),
    ("commands.*",),
    ("__main__",),
)
CORE = LADDER.index(("jconv",))  # up to here, what `import jconv` loads


def module_of(path: Path) -> str:
    """The name of a file's module below `jconv`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "jconv"


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}
# A folder's empty `__init__` holds nothing to import.
MODULES = [name for name, path in FILES.items() if path.name != "__init__.py" or path.read_text()]


def rung(module: str) -> float:
    """Where a module stands; infinitely high if nowhere."""
    for height, names in enumerate(LADDER):
        for name in names:
            if module == name or (name.endswith(".*") and f"{module}.".startswith(name[:-1])):
                return height
    return math.inf


def imports(module: str) -> Iterator[str]:
    """Full names of the modules that a file imports, those inside functions too."""
    path = FILES[module]
    package = ["jconv", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}".removeprefix("jconv.")
                yield f"jconv.{inner}" if source.startswith("jconv") and inner in FILES else source


def own_imports(module: str) -> set[str]:
    """Names below `jconv` of what it imports from the package."""
    names = {name for name in imports(module) if name.split(".")[0] == "jconv"}
    return {name.removeprefix("jconv.") for name in names}


def test_every_module_stands_on_the_ladder():
    assert not [module for module in MODULES if rung(module) == math.inf]
    named = {name for names in LADDER for name in names if not name.endswith(".*")}
    assert named <= set(FILES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_come_from_lower_rungs(module: str):
    assert not {name for name in own_imports(module) if rung(name) >= rung(module)}


@pytest.mark.parametrize("module", [module for module in MODULES if rung(module) <= CORE])
def test_the_core_imports_jax_alone(module: str):
    packages = {name.split(".")[0] for name in imports(module)}
    assert packages - sys.stdlib_module_names <= {"jax", "numpy", "jconv"}


def test_import_jconv_loads_nothing_that_it_does_not_need():
    heavy = ("flax", "optax", "matplotlib", "torch", "torchvision", "sklearn", "rich", "hypothesis")
    program = f"import sys, jconv; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"

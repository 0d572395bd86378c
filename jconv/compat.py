"""The parts of JAX that are neither documented nor avoidable, in one place.

What would break it:
- `aval.manual_axis_type.varying` renamed (how `shard_map` types values that differ between
  devices): `vary_alike` would stop casting, and gradients of replicated kernels would fail inside
  `shard_map`;
- `ShapedArray.update` losing `sharding=`: results would lose the mesh axes that they lie on;
- `module_context.lowering_parameters.for_export` renamed: `jax.export` outside `portable()` would
  no longer be recognised;
- `module_context.axis_context` losing `num_devices` or `manual_axes`: one device and many would no
  longer be told apart, and operations that the partitioner cannot split would gather the batch;
- `JaxprEqn.ctx.manager`, `Jaxpr.replace` or the parameters of `convert_element_type` renamed, or
  custom derivatives held by their operations as something else than a `WrappedFun`: `accelerate`
  would raise where it meets them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import linear_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Primitive as Primitive, Var, primitives
from jax.interpreters import mlir
from jax.sharding import NamedSharding, PartitionSpec


def varying(x: Any) -> frozenset[str]:
    """Mesh axes along which `x` differs between devices, inside `shard_map`."""
    manual = getattr(jax.typeof(x), "manual_axis_type", None)
    return getattr(manual, "varying", frozenset())


def vary_alike(*arrays: jax.Array) -> list[jax.Array]:
    """`arrays` cast to differ along the same mesh axes, as every primitive asks inside
    `shard_map`. The transpose of the cast sums over the devices."""
    axes = frozenset[str]().union(*map(varying, arrays))
    missing = [tuple(sorted(axes - varying(x))) for x in arrays]
    return [
        jax.lax.pcast(x, names, to="varying") if names else x
        for x, names in zip(arrays, missing, strict=True)
    ]


def result_type(aval: Any, shape: Sequence[int], dtype: Any, kept: dict[int, int]) -> Any:
    """The abstract value of a result that varies as `aval` does. Result axis i is sharded as axis
    `kept[i]` of `aval` is, every other axis is whole."""
    spec = (*aval.sharding.spec, *(None,) * aval.ndim)
    sharding = NamedSharding(
        aval.sharding.mesh,
        PartitionSpec(*(spec[kept[i]] if i in kept else None for i in range(len(shape)))),
    )
    return aval.update(shape=tuple(shape), dtype=dtype, weak_type=False, sharding=sharding)


def shard_alike(x: jax.Array, aval: Any) -> jax.Array:
    """x, on an explicit mesh sharded as `aval` is."""
    wanted = aval.sharding
    if tuple(jax.typeof(x).sharding.spec) == tuple(wanted.spec):
        return x
    return jax.sharding.reshard(x, wanted)


def is_export(ctx: mlir.LoweringRuleContext) -> bool:
    """Whether the module being lowered is for `jax.export`."""
    return bool(ctx.module_context.lowering_parameters.for_export)


def is_partitioned(ctx: mlir.LoweringRuleContext) -> bool:
    """Whether XLA's partitioner will split the module being lowered over several devices: not for
    one device, and not where `shard_map` has split it already."""
    axes = ctx.module_context.axis_context
    manual: frozenset[str] = getattr(axes, "manual_axes", frozenset())
    mesh = getattr(axes, "mesh", None)
    if mesh is not None and manual:
        return manual != frozenset(mesh.axis_names)
    return getattr(axes, "num_devices", 1) != 1


def lower(ctx: mlir.LoweringRuleContext, fun: Any, *operands: Any) -> Any:
    """Lowers `fun(*operands)` in place of the primitive of `ctx`.

    `fun` is traced on plain shapes and dtypes: what an explicit mesh says of them was settled when
    the primitive was bound, and the partitioner takes it from there.
    """
    avals: Sequence[Any] = ctx.avals_in
    plain = [jax.core.ShapedArray(aval.shape, aval.dtype) for aval in avals]
    return mlir.lower_fun(fun, multiple_results=False)(ctx.replace(avals_in=plain), *operands)


# --- Programs, as `accelerate` takes them apart --------------------------------------------------


def equations(function: Callable[..., jax.Array], eqn: JaxprEqn) -> list[JaxprEqn] | None:
    """The operations of `function`, to stand where `eqn` does; None if they cannot, as its result
    would be of another type."""
    avals: list[Any] = [var.aval for var in (*eqn.invars, *eqn.outvars)]
    *operands, result = avals
    # Inside `shard_map`, what is made of operands that vary alike between devices varies as they
    # do; `function` is traced outside, where nothing varies.
    nowhere = jax.core.ShapedArray((), result.dtype)
    if any(varied(aval, result) != aval for aval in operands):
        return None

    def typed(*arrays: jax.Array) -> jax.Array:
        y = shard_alike(function(*arrays), result)
        weak = {"new_dtype": y.dtype, "weak_type": True, "sharding": None}
        return primitives.convert_element_type_p.bind(y, **weak) if result.weak_type else y

    with eqn.ctx.manager:
        program = jax.make_jaxpr(typed)(*(varied(aval, nowhere) for aval in operands)).jaxpr
    if varied(program.outvars[0].aval, result) != result or program.constvars:
        return None

    here = dict(zip(program.invars, eqn.invars, strict=True))
    here[program.outvars[0]] = eqn.outvars[0]

    def moved(var: Any) -> Any:
        if isinstance(var, Literal):
            return var
        return here.setdefault(var, Var(varied(var.aval, result)))

    return [
        each.replace(
            invars=list(map(moved, each.invars)),
            outvars=list(map(moved, each.outvars)),
            source_info=eqn.source_info,
            ctx=eqn.ctx,
        )
        for each in program.eqns
    ]


def varied(aval: Any, like: Any) -> Any:
    """`aval`, to differ between devices as the abstract value `like` does."""
    return aval.update(manual_axis_type=like.manual_axis_type)


def with_equations(program: Any, eqns: list[JaxprEqn]) -> Any:
    """A `Jaxpr` or `ClosedJaxpr`, which are one from JAX 0.11 on, of other operations."""
    inner = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    replaced = inner.replace(eqns=eqns)
    return replaced if inner is program else program.replace(jaxpr=replaced)


def wrapped(function: Callable[..., Any], like: Any) -> Any:
    """`function` as a parameter of a custom derivative, in place of `like`."""
    return linear_util.wrap_init(function, debug_info=like.debug_info)

"""What each operation does to the fields of its operands: one rule for each primitive.

A rule gets the equation, the field of each operand (None where it does not depend on the picture),
and the operands which are constants; it gives the fields of the results, or one for all of them.
What has no rule, or reads where the picture tells it to, is a `CannotTell`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jax.extend.core import JaxprEqn

from jconv.analysis.fields import Field, union


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """An array made of constants alone.

    Attributes:
      compute: gives its value.
      weights: whether matrices from outside the program, or random numbers, are among the
        constants: weights, whose values do not count for what is read.
    """

    compute: Callable[[], Any]
    weights: bool


Constants: TypeAlias = Sequence[Constant | None]
Fields: TypeAlias = Sequence[Field | None]
Result: TypeAlias = Field | Fields | None
Rule: TypeAlias = Callable[[JaxprEqn, Fields, Constants], Result]
Unary: TypeAlias = Callable[[JaxprEqn, Field], Field | Sequence[Field]]

_NAMES = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp
    clz complex conj convert_element_type copy copy_p cos cosh device_put digamma div eq eq_to erf
    erf_inv erfc exp exp2 expm1 floor ge gt igamma igamma_grad_a igammac imag integer_pow is_finite
    le le_to lgamma log log1p log2 logistic lt lt_to max min mul mulhi name ne neg nextafter not
    one_minus_square or pcast polygamma population_count pow pvary real reduce_precision
    regularized_incomplete_beta rem reshard round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sharding_constraint sign sin sinh sqrt square stop_gradient sub tan tanh xor
    zeta
"""
ELEMENTWISE = frozenset(_NAMES.split())
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def unary(*names: str) -> Callable[[Unary], Unary]:
    """A rule for the union of the operands' fields."""

    def add(function: Unary) -> Unary:
        def every(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Result:
            return function(eqn, union([each for each in fields if each]))

        rule(*names)(every)
        return function

    return add


def shape_of(var: Any) -> tuple[int, ...]:
    return var.aval.shape


@unary(*ELEMENTWISE)
def _elementwise(eqn: JaxprEqn, seen: Field) -> Field:
    return seen


@rule("optimization_barrier")
def _same(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Fields:
    return fields

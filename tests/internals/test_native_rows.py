"""Native code: every row that has a native facet against NumPy, and the loops and the entry by themselves."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import wengert as wg
from wengert import trees
from wengert.compilation.native.entry import Native
from wengert.compilation.native.layout import fits
from wengert.compilation.native.lowering import lower_tree
from wengert.primitives.table import PRIMITIVES

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -2.5, 1e-300, 1e300, 700.0, np.inf, -np.inf, np.nan]


def tree_of(f, *args):
    """Return the branches of a jitted function."""
    jitted = wg.jit(f)
    jitted(*args)
    ((signature),) = jitted._signatures()
    return signature.tree


def native_of(f, *args):
    """Return the native code of a function that has been traced at some arguments."""
    described = [(a.shape, a.strides, a.dtype) if type(a) is np.ndarray else type(a) for a in args]
    return Native(lower_tree(tree_of(f, *args), "f"), described, {}, trees.flatten((args, {}))[1])


# ---- Rows ----

WITHOUT = {
    "ldexp", "left_shift", "nextafter", "right_shift", "spacing",
}  # fmt: skip
"""NumPy's own functions of elements that no machine code is generated for."""


LEFT_TO_PYTHON = set(
    """
    Chi Ci Shi Si add.reduceat airyai airyaiprime airybi airybiprime amplitude arctan_moment argmax argmin
    argpartition argsort argwhere balancing bdtr bdtrc bdtri beta_density betainc_order cholesky cofactors
    cofactors_slope complete_qr completion complex_polygamma convolve coshm cosm dct det
    distinct distinct_values dst eig eigh eigvals eigvalsh elliptic_integral eval_chebyt eval_chebyu eval_gegenbauer
    eval_genlaguerre eval_hermite eval_hermitenorm eval_jacobi eval_laguerre eval_legendre expm expn exponent
    faddeeva_imag faddeeva_real fft fir fractional_matrix_power fresnelc fresnels full_rank full_svd gamma_density
    gammainc_order hankel1 hankel1e hankel2 hankel2e hypergeometric ifft integral_i0 integral_j0 integral_k0
    integral_y0 inv irfft isin ive_order joined jv_order kn kve_order lambertw lambertw_branch lambertw_minus
    largest length level lexsort logm lstsq lu magnitude matrix_rank nbdtr nbdtrc nbdtri nonzero_values
    normal_hazard order_by_size order_of_pivots pdtr pdtrc pdtri pinv pivoted_columns pivots polygamma qr ratio
    recurrence recurse rfft riemann_zeta scaled_airyai scaled_airyaiprime scaled_airybi scaled_airybiprime
    scipy_eigh searchsorted second_i0 second_j0 second_k0 second_y0 settled shared signm signs_of_banded_vectors
    signs_of_vectors sinhm sinm slogdet solve solve_banded solve_continuous_are solve_discrete_are solve_sylvester
    solve_triangular sparse_product sparse_solve special_round spherical_in spherical_jn spherical_kn spherical_yn
    spline_filter sqrtm stdtr_order stencil stumpff svd svdvals tanhm tanm undirected unique_positions unwrap yn
    yv_order zeta zeta_order
    """.split()  # noqa: SIM905
)
"""All other rows that no machine code is generated for: a line of one stays NumPy's or SciPy's."""


def test_all_rows_that_are_left_to_python():
    """A new row is entered here, or gets a native facet."""
    code = """
import wengert.api
from wengert.primitives.table import PRIMITIVES
print(*[name for name, primitive in PRIMITIVES.items() if primitive.native is None])"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert set(printed.split()) == WITHOUT | LEFT_TO_PYTHON  # in a process in which no test has defined rows


def test_rows_without_a_native_facet():
    numpys = {name for name, p in PRIMITIVES.items() if p.is_ufunc and getattr(np, name, None) is p.numpy}
    assert {name for name in numpys if PRIMITIVES[name].native is None} == WITHOUT
    moving = {"reshape", "transpose", "broadcast_to", "stack", "concatenate", "getitem", "roll", "diagonal"}
    assert all(PRIMITIVES[name].native for name in moving)


def operands_of(primitive):
    """Return operands of special values, every one with every other."""
    own = getattr(np, primitive.name, None) is primitive.numpy
    values = SPECIAL if own else [-0.5, 0.25, 0.5, 1.0, 2.5]  # far out, some functions of SciPy's take minutes
    grid = np.meshgrid(*[values] * primitive.numpy.nin, indexing="ij")
    return zip(*[operand.ravel().tolist() for operand in grid], strict=True)


def compare(primitive, *start, own):
    """Compare native code with NumPy at special values, and return how often it was taken."""
    native = native_of(lambda *xs: 1.0 * primitive(*xs), *start)
    taken = 0
    for values in operands_of(primitive):
        with np.errstate(all="raise", under="ignore"):
            try:
                expected = 1.0 * primitive.compute(*map(np.float64, values))
            except FloatingPointError:
                expected = NotImplemented
        result = native(*values)
        if result is NotImplemented:  # inside of SciPy's functions, something may overflow
            assert expected is NotImplemented or not own or not np.all(np.isfinite([expected, *values])), values
            continue
        assert expected is not NotImplemented, (values, result)
        taken += 1
        np.testing.assert_allclose(result, expected, rtol=1e-15, atol=0, err_msg=str(values))
        assert np.signbit(result) == np.signbit(expected) or np.isnan(expected), values
    return taken


OF_DOUBLES = [n for n, p in PRIMITIVES.items() if p.is_ufunc and p.native and "d" * p.numpy.nin in str(p.numpy.types)]
OF_NUMPY = [name for name in OF_DOUBLES if getattr(np, name, None) is PRIMITIVES[name].numpy]


@pytest.mark.parametrize("name", OF_NUMPY)
def test_functions_of_elements(name):
    start = [1.5] if name == "arccosh" else [0.5, 0.75][: PRIMITIVES[name].numpy.nin]
    assert compare(PRIMITIVES[name], *start, own=True) > 3


@pytest.mark.parametrize("name", sorted({*OF_DOUBLES} - {*OF_NUMPY}))
def test_functions_of_scipy(name):
    nin = PRIMITIVES[name].numpy.nin
    starts = [[0.5, 0.75, 0.25, 0.625][:nin], [2.0, 1.0, 0.25, 0.5][:nin], [2.5, 3.5, 4.5, 0.5][:nin], [-0.5][:nin]]
    for start in starts:
        if np.isfinite(PRIMITIVES[name].numpy(*start)):
            assert compare(PRIMITIVES[name], *start, own=False)
            return
    raise AssertionError("no point to start from")


WRITTEN = {
    "a diagonal": (slice(None), np.arange(3), np.arange(3)),
    "below it": (slice(None), np.array([1, 2, 2]), np.array([0, 0, 1])),
    "rows": (np.array([1, 0]),),
    "a mask": (np.array([True, False]),),
    "a slice": (slice(None), slice(1, 3), -1),
    "one": (0, 1, 2),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_parts_of_arrays_are_written(case):
    index = WRITTEN[case]
    base = np.arange(18.0).reshape(2, 3, 3)

    def write(x):
        y = base.copy()
        y[index] = x
        return y

    def add(x):
        y = np.zeros((2, 3, 3))
        np.add.at(y, index, x)
        return y * y

    value = np.linspace(0.1, 0.9, base[index].size).reshape(base[index].shape)
    for function in (write, add):
        native = native_of(function, value)
        np.testing.assert_array_equal(native(value), function(value))

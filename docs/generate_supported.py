"""Write docs/supported.md: what can be traced, from the tables themselves.

Run ``python docs/generate_supported.py`` after a row or a function has been added; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wengert.primitives import CALLS, PRIMITIVES
from wengert.primitives.scipy import distance as scipy_distance
from wengert.primitives.scipy import fft as scipy_fft
from wengert.primitives.scipy import interpolate as scipy_interpolate
from wengert.primitives.scipy import ndimage as scipy_ndimage
from wengert.primitives.scipy import signal as scipy_signal
from wengert.primitives.scipy import statistics as scipy_statistics
from wengert.primitives.scipy import transform as scipy_transform
from wengert.primitives.scipy.distributions import DISTRIBUTIONS
from wengert.program import Primitive

PAGE = Path(__file__).with_name("supported.md")

HEAD = """\
# What is supported

*Written by `docs/generate_supported.py` from the tables in `src/wengert/primitives`; a test compares them.*

Every function below takes traced values where NumPy and SciPy take arrays, in every form of its arguments, and gives
the values, shapes, dtypes and exceptions that they give.  Derivatives exist forward, reverse and in blocks, to any
order, from one rule.  A function that is not here raises `UnsupportedError`, which names the nearest that are.
"""

SUBJECTS = {
    "reductions": "Reductions",
    "statistics": "Order statistics, covariances, histograms",
    "manipulation": "Shapes and order",
    "joining": "Joining and splitting",
    "selecting": "Choosing, sorting, positions",
    "products": "Products",
    "calculus": "Sampled functions and polynomials",
    "logic": "Comparing and rounding",
    "creation": "Making arrays",
    "in_place": "Writing into an array",
    "ufuncs": "Ufuncs with two results",
}

NAMESPACES = {
    "numpy.linalg": "numpy.linalg",
    "numpy.fft": "numpy.fft",
    "numpy.lib.scimath": "numpy.emath",
    "numpy.lib.stride_tricks": "numpy.lib.stride_tricks",
}

REST = """\
## scipy.sparse

Matrices of traced entries, made of coordinates, of compressed rows or columns, of diagonals (`diags`, `diags_array`) or
of a dense array; conversions, elements, transposes, sums, products of every kind, `toarray`, `diagonal`, `kron`,
`vstack`, `hstack`, `block_diag`, `bmat`, `tril`, `triu`.  `scipy.sparse.linalg`: `spsolve`, `splu` and `factorized`
(called inside of the function), `spsolve_triangular`, `cg`, `gmres`, `bicgstab`, `minres`, `bicg`, `cgs`, `lgmres`, by
the matrix and the right side; the derivative of an iteration is that of the solution.

## scipy.stats

The `pdf`, `logpdf`, `cdf`, `sf`, `ppf`... of the distributions {distributions}, and of `multivariate_normal`;
{statistics}; and what SciPy writes in terms of NumPy (`zscore`, `skew`, `linregress`...).

## Methods and keywords of ufuncs

`where=`, `dtype=`, `casting=`, `signature=`, `out=` (into an array made in the traced function);
`.reduce` and `.accumulate` of every ufunc of two operands (`axis`, `keepdims`, `initial`, `where`), by halves where it
is associative and else one by one; `.outer`; `.reduceat`; `.at`, where positions repeat too.

## Indexing and methods of arrays

Integers, slices, `None`, `...`, arrays of integers (several, broadcast, apart, negative, repeated), masks (whole and
partial, plain and computed), `np.ix_`, lists; reading and assigning.  In a `Program`, a computed mask makes the number
of elements that it chooses a guard.  Arrays have NumPy's methods and attributes, but for those that take their bytes
(`view`, `tobytes`, `dump`...), which raise `LostGradientError`.  Lists of traced values work as arguments:
`np.mean([a, b])`.

## What raises, and why

- Functions of the values' bytes, and generators with traced parameters (`rng.normal(t)`): draw from the standard
  distribution and scale, `loc + scale * rng.normal(size=n)`.
- `float` and whatever else asks for a plain float; `math.sin` and the like, and `np.fromiter`, are traced, and in an
  installed package, which you cannot edit, `float(x)`, `complex(x)` and `np.float64(x)`, too.
- `np.quantile(weights=)`, `np.histogram2d`, `np.histogramdd`, automatic numbers of bins.
- `np.pad` with a function for `mode`, which writes in place.
- Writing into an array from before the trace: copy it inside the function.
"""


ORDER = """\
Functions that are written in terms of these lines take over their conventions, and further:

- `sort`, `partition`, `median`, `quantile`, `unique`: each rank moves as the element that holds it; of equal
  elements each takes one rank. What a quantile's own derivative with respect to `q` is, is the slope between
  its two neighbors.
- `clip`: at a bound half, as of `maximum` and `minimum`.
- `interp`: at a sample the slope to its right.
- `prod`, `cumprod`: exact at zeros, to any order.
- `nansum` and relatives, `nan_to_num`, `where`: what is left out has derivative zero, even if it is NaN.
- `std` of equal elements: 0.
- `argmax`, `argsort`, `searchsorted`, `digitize`, `nonzero`, `count_nonzero`, `histogram` without weights: positions
  and numbers, of derivative zero.
"""


def name_of(function: Callable[..., Any]) -> str:
    """Return the name under which users call a function."""
    return function.__name__


def listed(functions: Iterable[Callable[..., Any]]) -> str:
    """Write names one after the other."""
    return ", ".join(f"`{name}`" for name in sorted({name_of(f) for f in functions}, key=str.lower))


def space_of(function: Callable[..., Any]) -> str:
    """Return the namespace under which users find a function, empty for what is no function of theirs."""
    if isinstance(function, np.ufunc):
        return "numpy" if getattr(np, function.__name__, None) is function else "scipy.special"
    module = function.__module__
    if module.startswith("scipy") and not module.startswith(("scipy.linalg", "scipy.special")):
        return ""  # entered when the user has imported them
    if module.startswith("scipy"):
        return ".".join(module.split(".")[:2])
    return NAMESPACES.get(module, "numpy" if module == "numpy" else "")


def named(methods: Iterable[str]) -> list[str]:
    """Return the names under which users know functions, classes and methods."""
    public = {name.removesuffix(".__init__").removesuffix(".__call__") for name in methods if not name.startswith("_")}
    return sorted((name for name in public if "__" not in name), key=str.lower)


def jumps(function: Callable[..., Any]) -> bool:
    """Tell whether a ufunc has derivative zero in every operand."""
    row = CALLS[function]
    return isinstance(row, Primitive) and not any(row.partials)


def write() -> str:
    """Return the text of the page."""
    by_space: dict[str, list[Callable[..., Any]]] = {}
    for function in CALLS:
        by_space.setdefault(space_of(function), []).append(function)
    own = by_space["numpy"]
    ufuncs = [f for f in own if isinstance(CALLS[f], Primitive) and isinstance(f, np.ufunc)]
    parts = [HEAD, "## NumPy", ""]
    parts += [f"**Elementwise.** {listed(f for f in ufuncs if not jumps(f))}.", ""]
    parts += [f"**Elementwise, derivative zero.** {listed(f for f in ufuncs if jumps(f))}.", ""]
    for module, title in SUBJECTS.items():
        chosen = [
            f for f in own if f not in ufuncs and getattr(CALLS[f], "__module__", "").endswith(f"functions.{module}")
        ]
        parts += [f"**{title}.** {listed(chosen)}.", ""]
        own = [f for f in own if f not in chosen]
    rest = [f for f in own if f not in ufuncs]
    if rest:
        parts += [f"**Others.** {listed(rest)}.", ""]
    for space in sorted(set(by_space) - {"", "numpy"}):
        parts += [f"## {space}", "", f"{listed(by_space[space])}.", ""]
    for space, entered in (
        ("scipy.fft", scipy_fft.FUNCTIONS),
        ("scipy.fftpack", scipy_fft.OLDER),
        ("scipy.signal", scipy_signal.FUNCTIONS),
    ):
        names = ", ".join(f"`{name}`" for name in sorted(entered))
        parts += [f"## {space}", "", f"{names}; and what SciPy writes in terms of them and of NumPy.", ""]
    for space, entered, remark in (
        ("interpolate", scipy_interpolate.METHODS, "; by values, by points and by positions"),
        ("ndimage", scipy_ndimage.FUNCTIONS, ""),
        ("spatial.distance", scipy_distance.FUNCTIONS, "; and `scipy.spatial.distance_matrix`"),
        (
            "integrate",
            ("quad", "simpson"),
            ", `dblquad`, `tplquad`, `nquad`, `trapezoid`, `cumulative_trapezoid`, `romb`",
        ),
        ("spatial.transform", scipy_transform.METHODS, " (of SciPy 1.17 or newer)"),
    ):
        names = ", ".join(f"`{name}`" for name in named(entered))
        parts += [f"## scipy.{space}", "", f"{names}{remark}.", ""]
    rest = REST.format(
        distributions=", ".join(f"`{name}`" for name in sorted(DISTRIBUTIONS)),
        statistics=", ".join(f"`{name}`" for name in named(scipy_statistics.METHODS)),
    )
    parts += [rest, "## Where the derivative does not exist", ""]
    parts += ["| line | convention |", "|---|---|"]
    parts += [f"| `{row.name}` | {row.kink} |" for row in sorted(PRIMITIVES.values(), key=lambda r: r.name) if row.kink]
    return "\n".join([*parts, "", ORDER])


if __name__ == "__main__":
    PAGE.write_text(write())

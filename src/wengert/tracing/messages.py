"""What users are told where tracing cannot go on: a float that would lose its derivative, a function without a rule."""

from __future__ import annotations

import difflib
import re
import sys
from typing import Any

from wengert.errors import Location, LostGradientError, RawLocation, UnsupportedError, caller, explain_at
from wengert.primitives.table import CALLS
from wengert.tracing.tape import threads
from wengert.tracing.unsupported import scipy_call, unsupported_call

_IN_NUMPY = {
    "acos": "np.arccos",
    "acosh": "np.arccosh",
    "asin": "np.arcsin",
    "asinh": "np.arcsinh",
    "atan": "np.arctan",
    "atan2": "np.arctan2",
    "atanh": "np.arctanh",
    "comb": "scipy.special.comb",
    "dist": "np.linalg.norm",
    "erf": "scipy.special.erf",
    "erfc": "scipy.special.erfc",
    "fabs": "np.abs",
    "factorial": "scipy.special.factorial",
    "fsum": "np.sum",
    "gamma": "scipy.special.gamma",
    "lgamma": "scipy.special.gammaln",
    "phase": "np.angle",
    "perm": "scipy.special.perm",
    "polar": "np.abs and np.angle",
    "pow": "np.power",
    "sumprod": "np.dot",
    "ulp": "np.spacing",
}
"""What NumPy and SciPy call functions of the modules math and cmath."""


def lost(place: RawLocation | None) -> LostGradientError | UnsupportedError:
    """Make the error for a traced value that is asked to become a plain float, with the NumPy spelling to use.

    Where it is a function of SciPy that asks, that is what has no rule.
    """
    foreign = scipy_call()
    if foreign is not None:
        return unsupported_call(foreign, place)
    location = Location.of(place)
    segment = "" if location is None else location.segment
    instead = "Leave it as it is: traced scalars take part in arithmetic and NumPy functions."
    if "random" in segment or "rng" in segment:
        instead = (
            "Draw from the standard distribution and scale what was drawn: loc + scale * np.random.normal(size=n)."
        )
    for word in re.findall(r"[\w.]+", segment):
        module, _, name = word.rpartition(".")
        if module in ("math", "cmath"):
            spelled = _IN_NUMPY.get(name, f"np.{name}")
            whose = "SciPy's" if spelled.startswith("scipy") else "NumPy's"
            instead = f"Write {spelled} instead of {word}: {whose} functions are traced, those of {module} are not."
            break
    else:
        if (called := re.search(r"(?:np\.|numpy\.)?\b(?:float|complex)\d*(?=\()", segment)) is not None:
            instead = f"Leave out {called[0]}(...): a traced scalar can be used wherever a float can."
        elif "=" in segment or "[" in segment:
            instead = (
                "If it is written into a plain array, make that array inside the function and by its full name: "
                "np.zeros(...), np.array([...]) or np.copy(x)."
            )
    return LostGradientError(
        explain_at(place, "a traced value is asked to become a plain float, which would lose its derivative:", instead)
    )


class Text(str):
    """What a traced value reads as: text for people, which is not made a number again while a trace is open.

    >>> Text("0.5") == "0.5", float(Text("0.5")) + 1
    (True, 1.5)
    """

    __slots__ = ()

    def _read(self, kind: type) -> Any:
        if threads.context.tapes:
            raise LostGradientError(
                explain_at(
                    caller(),
                    "the text of a traced value is made a number again, which would lose its derivative:",
                    "Use the value itself; or write stop_gradient(x) where a constant is meant.",
                )
            )
        return kind(str(self))

    def __float__(self) -> float:
        return self._read(float)  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return self._read(int)  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        return str, (str(self),)


def unsupported(name: str) -> UnsupportedError:
    """Make the error for a function without a rule: it names the nearest supported ones and how to add one."""
    names = sorted({f.__name__ for f in CALLS if hasattr(f, "__name__")})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    nearest = f"The nearest supported are {', '.join(map(_spelled, near))}; or add" if near else "Add"
    short = name.partition(".")[0].partition("(")[0]
    own = _spelled(short)
    return UnsupportedError(
        explain_at(
            caller(),
            f"{own}{name.removeprefix(short)} has no rule on traced values:",
            f"{nearest} a rule: wg.define({'my_' + short!r}, {own}, lambda y, x: <dy/dx>, replaces={own}).",
        )
    )


def _spelled(name: str) -> str:
    """Write the name of a function with the module that users call it from."""
    for module in ("numpy", "numpy.linalg", "numpy.fft", "scipy.special", "scipy.linalg"):
        if hasattr(sys.modules.get(module), name):
            return f"{module.replace('numpy', 'np')}.{name}"
    return f"np.{name}"

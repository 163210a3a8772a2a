"""Compiled: what a test differentiates is computed again by `wg.jit`, with machine code from the first call that can.

While a test runs, each call of a transformed function that is not made inside of another is noted.  When the test has
passed, each is repeated three times: by the function itself, by its jitted form, which traces it, and by that once
more, which runs machine code.  All three raise and warn alike, or their results have the same structure, types, dtypes
and shapes, and the same values up to rounding.  What warns of the structure of a function is heard once for each
branch, while it is traced: as for a plain call that a user has read the warning of.

How much rounding there may be is measured, not assumed: the lines of the trace are evaluated with each of their results
changed at random by as many units in the last place as an implementation of its primitive may be off (`ROUNDING`), a
few times over.  So a sum that cancels may differ by more than its last bits, and a product may not.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import threading
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext

import numpy as np

import wengert as wg
from wengert import api, trees
from wengert.errors import (
    PACKAGE,
    BranchError,
    CompressionWarning,
    DecisionWarning,
    DomainWarning,
    EscapedError,
    ImpureError,
    JitWarning,
    LostGradientError,
    ResultError,
)
from wengert.program import Var, interpret, value_of
from wengert.program.interpretation import values_of_inputs
from wengert.tracing import current_context
from wengert.transformations import Transformed

DERIVATIVES = {
    "elementwise_grad", "gauss_newton", "grad", "hessian", "hessian_diagonal", "hvp", "jacfwd", "jacobian", "jacrev",
    "laplacian", "value_and_grad", "vmap",
}  # fmt: skip
"""The transformations whose functions return numbers."""
REFUSALS = {
    ImpureError: "it draws random numbers, reads a clock or changes what is outside of it",
    ResultError: "it returns what is no tree of numbers and arrays",
    LostGradientError: "it makes a plain number of a value that is traced",
    EscapedError: "it takes a value out of a loop in another way than by its result",
}
"""What `wg.jit` refuses, as its documentation says."""
OF_STRUCTURE = (CompressionWarning, DecisionWarning)
"""The warnings that are about a function, whatever its values are."""
MOST_FUNCTIONS, MOST_CALLS = 60, 4
"""So many functions of a test are repeated, and so many calls of each: random tests make hundreds."""

# ---- Noting calls ----


class Calls:
    """The calls of transformed functions that a test makes."""

    def __init__(self):
        self.functions = {}
        self.left_out = 0
        self._inside = threading.local()

    @contextmanager
    def outermost(self, of, key, args, kwargs):
        """Note the call that is made in this context, if it is outermost."""
        if getattr(self._inside, "call", False) or current_context().tapes:
            yield
            return
        self._inside.call = True
        try:
            self._note(of, key, args, kwargs)
            yield
        finally:
            self._inside.call = False

    def _note(self, of, key, args, kwargs):
        if key not in self.functions and len(self.functions) >= MOST_FUNCTIONS:
            self.left_out += 1
            return
        if key not in self.functions:
            self.functions[key] = of(), []
        calls = self.functions[key][1]
        if len(calls) < MOST_CALLS:
            calls.append(Arguments(args, kwargs))
        else:
            self.left_out += 1


class Arguments:
    """The arguments of a call: the arrays themselves, and what they held."""

    def __init__(self, args, kwargs):
        self._leaves, self._structure = trees.flatten((args, dict(kwargs)))
        self._copies = [leaf.copy(order="K") if isinstance(leaf, np.ndarray) else leaf for leaf in self._leaves]

    def again(self):
        """Return the arguments: the arrays that were passed, or copies of what they held where that has changed."""
        leaves = [
            copy.copy(order="K") if isinstance(leaf, np.ndarray) and leaf.tobytes() != copy.tobytes() else leaf
            for leaf, copy in zip(self._leaves, self._copies, strict=True)
        ]
        return trees.unflatten(self._structure, leaves)


_SOURCE = """
def method(noting, original):
    def __call__(self, *args, **kwargs):
        with noting(self, args, kwargs):
            return original(self, *args, **kwargs)
    return __call__

def function(noting, original):
    def call(f, *args, **kwargs):
        with noting(f, args, kwargs):
            return original(f, *args, **kwargs)
    return call
"""
_WRITERS = {}
exec(compile(_SOURCE, os.path.join(PACKAGE, "transformations.py"), "exec"), _WRITERS)  # no line of the user's


@contextmanager
def noted():
    """Note the calls of transformed functions, and yield them."""
    calls = Calls()

    def of_transformed(self, args, kwargs):
        if self.transformation.__name__ not in DERIVATIVES:
            return nullcontext()
        return calls.outermost(lambda: self, ("transformed", id(self)), args, kwargs)

    def of_point(name):
        def noting(f, args, options):
            key = (name, id(f), *options.items())
            return calls.outermost(lambda: at_point(name, f, options), key, args, {})

        return noting

    before = {name: getattr(api, name) for name in ("jvp", "vjp", "linearize")}
    method = Transformed.__call__
    Transformed.__call__ = _WRITERS["method"](of_transformed, method)
    for name, original in before.items():
        setattr(wg, name, functools.wraps(original)(_WRITERS["function"](of_point(name), original)))
    try:
        yield calls
    finally:
        Transformed.__call__ = method
        for name, original in before.items():
            setattr(wg, name, original)


def at_point(name, f, options):
    """Return the function of numbers that shows what one of a point computes: for `vjp` its product with ones."""
    has_aux = options.get("has_aux", False)

    def jvp(primals, tangents):
        return api.jvp(f, primals, tangents, **options)[: 2 + has_aux]

    def vjp(*primals):
        value, pull, *aux = api.vjp(f, *primals, **options)
        return value, pull(_ones(value)), *aux

    def linearize(*primals):
        value, push, *aux = api.linearize(f, *primals, **options)
        return value, push(*_ones(primals)), push.T(_ones(value)), *aux

    return {"jvp": jvp, "vjp": vjp, "linearize": linearize}[name]


def _ones(tree):
    leaves, structure = trees.flatten(tree)
    return trees.unflatten(structure, [np.ones_like(np.asarray(wg.stop_gradient(leaf)))[()] for leaf in leaves])


# ---- Repeating them ----


class DisagreementError(AssertionError):
    """A jitted function has computed something else than the function itself."""


@contextmanager
def machine_code_at_once():
    """Make machine code of functions in their second call, and of loops before their first step."""
    modules = [importlib.import_module(name) for name in ("wengert.compilation.jit", "wengert.control.native")]
    before = [module.calls_before for module in modules]
    for module in modules:
        module.calls_before = lambda: 1
    try:
        yield
    finally:
        for module, function in zip(modules, before, strict=True):
            module.calls_before = function


def repeat(calls):
    """Repeat calls by jitted functions; return how many were compared in which way, and what was refused."""
    counts = Counter()
    if calls.left_out:
        counts["left out: more than a test repeats"] = calls.left_out
    with machine_code_at_once():
        for function, arguments in calls.functions.values():
            jitted = wg.jit(function)
            for each in arguments:
                counts[compare(function, jitted, each)] += 1
    return counts


def compare(function, jitted, arguments):
    """Compare two calls of a jitted function with one of the function; return how it was computed."""
    expected = Outcome(function, arguments)
    for _ in range(2):
        before = _runs(jitted)
        outcome = Outcome(jitted, arguments)
        outcome.is_compiled = _runs(jitted) == before
        for refusal, reason in REFUSALS.items():
            if isinstance(outcome.error, refusal) and not isinstance(expected.error, refusal):
                return f"refused: {reason}"
        if outcome.is_plain:
            return "refused: more branches or values than are kept (JitWarning)"
        outcome.demand_same(expected, jitted, lambda: rounding_of(function, arguments, expected.value))
    return _how(jitted)


def _runs(jitted):
    """Return how many branches of a jitted function have been traced, and how often the plain function has run."""
    return sum(len(signature.tree.branches) for signature in jitted._signatures()), jitted.declined


def _how(jitted):
    signatures = list(jitted._signatures())
    if any(signature.native is not None for signature in signatures):
        return "machine code"
    if any(branch.kernels for signature in signatures for branch in signature.tree.branches):
        return "kernels"
    return "Python code"


class Outcome:
    """What a call returns, raises and warns of."""

    def __init__(self, function, arguments):
        args, kwargs = arguments.again()
        self.value = self.error = None
        self.is_compiled = False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.value = function(*args, **kwargs)
            except BaseException as error:  # KeyboardInterrupt, too, where a test's function raises it
                self.error = error
        self.is_plain = any(issubclass(warning.category, JitWarning) for warning in caught)
        self.warnings = {
            (warning.category, str(warning.message))
            for warning in caught
            if issubclass(warning.category, (RuntimeWarning, DomainWarning))
        }

    def demand_same(self, expected, jitted, rounding):
        """Raise DisagreementError unless this is what was expected, up to rounding."""

        def differ(what, given, wanted):
            raise DisagreementError(f"{jitted!r}: {what}\n  jitted:   {given!r}\n  expected: {wanted!r}")

        if type(self.error) is not type(expected.error):
            raise DisagreementError(f"{jitted!r}: {self.error!r} instead of {expected.error!r}") from self.error
        warned = expected.warnings
        if self.is_compiled:
            warned = {(category, message) for category, message in warned if not issubclass(category, OF_STRUCTURE)}
        if self.warnings != warned:
            differ("other warnings", self.warnings, warned)
        (leaves, structure), (wanted, of_wanted) = _flat(self.value), _flat(expected.value)
        if structure != of_wanted:
            differ("another structure", structure, of_wanted)
        bounds = None
        for k, (a, b) in enumerate(zip(leaves, wanted, strict=True)):
            if type(a) is not type(b):
                differ(f"another type of result {k}", type(a), type(b))
            if not isinstance(b, (np.ndarray, np.generic, float, complex)):
                if a is not b and a != b:
                    differ(f"result {k}", a, b)
                continue
            a, b = np.asarray(a), np.asarray(b)
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                differ(f"another dtype or shape of result {k}", (a.dtype, a.shape), (b.dtype, b.shape))
            excess = _excess(a, b, 4 * _ulp(b))
            if excess > 1.0:
                bounds = bounds or rounding()
                excess = _excess(a, b, bounds[k])
                if excess > 1.0:
                    differ(f"result {k} is off by {excess:.3g} times what rounding explains", a, b)


def _flat(value):
    """Return the leaves and the structure of a result; a sparse matrix is its arrays."""
    leaves, structure = trees.flatten(value)
    parts, forms = [], []
    for leaf in leaves:
        if hasattr(leaf, "tocoo"):
            matrix = leaf.tocoo()
            forms.append((type(leaf), leaf.shape))
            parts += [matrix.row, matrix.col, matrix.data]
        else:
            forms.append(None)
            parts.append(leaf)
    return parts, (structure, forms)


def _ulp(b):
    return np.finfo(b.dtype).eps * np.abs(b) + np.finfo(b.dtype).tiny if b.dtype.kind in "fc" else np.zeros(b.shape)


def _excess(a, b, bound):
    """Return the largest difference of two arrays, as a multiple of a bound; infinity where one alone is not finite."""
    if a.dtype.kind not in "fc":
        return 0.0 if np.array_equal(a, b) else np.inf
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        difference = np.where(same, 0.0, np.abs(a - b) / bound)
    return float(np.max(np.where(np.isnan(difference), np.inf, difference), initial=0.0))


# ---- How much rounding explains ----

EXACT = {
    "negative", "absolute", "abs", "maximum", "minimum", "fmax", "fmin", "sign", "floor", "ceil", "trunc", "rint",
    "copysign", "conjugate", "real", "imag", "where", "positive", "all", "any", "max", "min", "argmax", "argmin",
    "sort", "argsort", "lexsort", "argpartition", "argwhere", "cummax", "cummin", "astype", "concatenate", "stack",
    "getitem", "setitem", "put", "roll", "round", "searchsorted", "isin",
}  # fmt: skip
ARITHMETIC = {"add", "subtract", "multiply", "divide", "sqrt", "square", "reciprocal"}
ROUNDING = {"exact": 0, "arithmetic": 1, "function": 4, "sum": 16, "loop": 64}
"""The units in the last place by which results of primitives may be off: what moves or chooses elements; what is
rightly rounded, where derivatives are added and multiplied in another order; functions of libm and libmvec; sums,
products of matrices and factorizations (here the operands are, so that a sum may be off by more than its own last
bits where it cancels, and by so many times the root of the number of terms, as partial sums are that are rounded one
after the other); loops, whose steps round many times."""
DRAWS, MARGIN = 6, 8.0
"""So often are values changed at random; a difference may be so many times the largest that was seen."""


def rounding_of(function, arguments, value):
    """Return a bound for each leaf of the result, by evaluations of the trace with rounding at random."""
    leaves = [np.asarray(leaf) for leaf in _flat(value)[0]]
    total = [4 * _ulp(leaf) for leaf in leaves]
    args, kwargs = arguments.again()
    flat_args = [*args, *kwargs.values()]

    def positional(*flat):
        result = function(*flat[: len(args)], **dict(zip(kwargs, flat[len(args) :], strict=True)))
        return _flat(result)[0] if any(hasattr(leaf, "tocoo") for leaf in trees.flatten(result)[0]) else result

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        program = wg.trace(positional)(*flat_args)
        exact = _evaluated(program, flat_args, None)
        spread = [np.zeros(leaf.shape) for leaf in leaves]
        for seed in range(DRAWS):
            changed = _evaluated(program, flat_args, np.random.default_rng(seed))
            for k, (a, b) in enumerate(zip(changed, exact, strict=True)):
                difference = np.abs(np.asarray(a) - np.asarray(b)) if np.asarray(b).dtype.kind in "fc" else 0.0
                spread[k] = np.fmax(spread[k], difference)
    return [bound + MARGIN * deviation for bound, deviation in zip(total, spread, strict=True)]


def _evaluated(program, args, rng):
    """Return the leaves of a Program's result, rounded at random by `rng`."""
    environment = interpret(
        program, values_of_inputs(program, args), lambda line, operands: _rounded(line, operands, rng), on_guard=None
    )
    values = tuple(result.pack([value_of(atom, environment) for atom in result.atoms]) for result in program.results)
    value = program.trees.join(values) if program.trees is not None else values[0] if program.single else values
    return _flat(value)[0]


def _rounded(line, operands, rng):
    primitive = line.primitive
    kind = _kind(line)
    units = ROUNDING[kind]
    if rng is None or not units:
        return primitive(*operands, **line.params)
    if kind in ("sum", "loop"):
        off = units * math.sqrt(_terms(line)) if kind == "sum" else units
        operands = [_changed(operand, off, rng) for operand in operands]
    try:
        result = primitive(*operands, **line.params)
    except BranchError:
        return primitive(*operands, **line.params)
    if primitive.multiple:
        return [_changed(part, units, rng) for part in result]
    return _changed(result, units, rng)


def _terms(line):
    """Return the number of terms of each sum that a line computes, at most: all that it reads, for each result."""
    sizes = [np.size(value_of(atom, {})) if not isinstance(atom, Var) else atom.size for atom in line.inputs]
    if len(sizes) == 1:
        return max(sizes[0] / max(line.outputs[0].size, 1), 1)
    return max([max(atom.shape, default=1) for atom in line.inputs if isinstance(atom, Var)], default=1)


def _kind(line):
    primitive = line.primitive
    if primitive.name in EXACT or (primitive.native == "moves"):
        return "exact"
    if primitive.name in ARITHMETIC:
        return "arithmetic"
    if primitive.elementwise:
        return "function"
    return "loop" if primitive.multiple and line.params else "sum"


def _changed(value, units, rng):
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or not isinstance(value, (np.ndarray, np.generic, float, complex)):
        return value
    factor = 1.0 + units * np.finfo(array.dtype).eps * rng.uniform(-1.0, 1.0, array.shape)
    return (array * factor).astype(array.dtype)[()]

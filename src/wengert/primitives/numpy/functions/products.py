"""Products of vectors, matrices and tensors, by way of one primitive: ``matmul``, which is BLAS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import as_operand, is_traced, ndim_of, only, shape_of, size_of
from wengert.primitives.table import calls


def _conjugate(a: Any) -> Any:
    return np.conjugate(a) if as_operand(a).dtype.kind == "c" else a


# ---- Vectors and matrices ----


@calls(np.matmul)
def matmul(a: Any, b: Any, /, **kwargs: Any) -> Any:
    """Multiply; a vector meets a stack of matrices as a matrix with one row or column."""
    if kwargs:
        only(**kwargs)
    left, right = ndim_of(a), ndim_of(b)
    if right == 1 and left > 2:
        return p.matmul(a, np.reshape(b, (-1, 1)))[..., 0]
    if left == 1 and right > 2:
        return p.matmul(np.reshape(a, (1, -1)), b)[..., 0, :]
    if left == 0 or right == 0:
        raise ValueError("matmul: Input operand does not have enough dimensions (a scalar cannot be a matrix; use *)")
    return p.matmul(a, b)


@calls(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    if out is not None:
        only(out=out)
    left, right = ndim_of(a), ndim_of(b)
    if left == 0 or right == 0:
        return np.multiply(a, b)
    if left <= 2 and right <= 2:
        return p.matmul(a, b)
    return np.tensordot(a, b, axes=((-1,), (-2 if right > 1 else -1,)))


@calls(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    if ndim_of(a) == 0 or ndim_of(b) == 0:
        return np.multiply(a, b)
    return np.tensordot(a, b, axes=((-1,), (-1,)))


@calls(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    return p.matmul(np.ravel(_conjugate(a)), np.ravel(b))


@calls(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    if out is not None:
        only(out=out)
    return p.reshape(as_operand(a), shape=(size_of(a), 1)) * p.reshape(as_operand(b), shape=(1, size_of(b)))


@calls(np.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, **kwargs: Any) -> Any:
    only(**kwargs)
    if ndim_of(x1) == 0 or ndim_of(x2) == 0:
        raise ValueError("vecdot: Input operand does not have enough dimensions")
    x1, x2 = np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)
    if shape_of(x1)[-1] != shape_of(x2)[-1]:
        raise ValueError("vecdot: Input operand 1 has a mismatch in its core dimension 0")
    if ndim_of(x1) == ndim_of(x2) == 1:
        return p.matmul(_conjugate(x1), x2)
    return np.sum(_conjugate(x1) * x2, axis=-1)


if hasattr(np, "matvec"):  # NumPy 2.2

    @calls(np.matvec)
    def matvec(x1: Any, x2: Any, /, **kwargs: Any) -> Any:
        only(**kwargs)
        if ndim_of(x1) < 2 or ndim_of(x2) < 1:
            raise ValueError("matvec: Input operand does not have enough dimensions")
        return (
            p.matmul(x1, x2) if ndim_of(x2) == 1 and ndim_of(x1) == 2 else p.matmul(x1, np.expand_dims(x2, -1))[..., 0]
        )

    @calls(np.vecmat)
    def vecmat(x1: Any, x2: Any, /, **kwargs: Any) -> Any:
        only(**kwargs)
        if ndim_of(x1) < 1 or ndim_of(x2) < 2:
            raise ValueError("vecmat: Input operand does not have enough dimensions")
        x1 = _conjugate(x1)
        return (
            p.matmul(x1, x2)
            if ndim_of(x1) == 1 and ndim_of(x2) == 2
            else p.matmul(np.expand_dims(x1, -2), x2)[..., 0, :]
        )


@calls(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_operand(a), as_operand(b)
    if a.ndim < 1 or b.ndim < 1:
        raise ValueError("At least one array has zero dimension")
    if normalize_axis_index(axisa, a.ndim) != a.ndim - 1:
        a = np.moveaxis(a, axisa, -1)
    if normalize_axis_index(axisb, b.ndim) != b.ndim - 1:
        b = np.moveaxis(b, axisb, -1)
    lengths = a.shape[-1], b.shape[-1]
    if lengths == (3, 3):
        product = p.cross(a, b)
        to = normalize_axis_index(axisc, product.ndim)
        return product if to == product.ndim - 1 else np.moveaxis(product, -1, to)
    np.cross(np.zeros(lengths[0]), np.zeros(lengths[1]))  # NumPy's own opinion on vectors of other lengths
    a0, a1, b0, b1 = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    last = a0 * b1 - a1 * b0
    if lengths == (2, 2):
        return last
    if lengths == (3, 2):
        parts = [-(a[..., 2] * b1), a[..., 2] * b0, last]
    else:
        parts = [a1 * b[..., 2], -(a0 * b[..., 2]), last]
    return np.stack(parts, axis=normalize_axis_index(axisc, last.ndim + 1))


@calls(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    ndim = max(a.ndim, b.ndim)
    left, right = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape
    apart = np.reshape(a, tuple(n for s in left for n in (s, 1)))
    product = apart * np.reshape(b, tuple(n for s in right for n in (1, s)))
    return np.reshape(product, tuple(m * n for m, n in zip(left, right, strict=True)))


# ---- Tensors ----


@calls(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Bring the summed axes together and multiply as matrices."""
    a, b = as_operand(a), as_operand(b)
    if np.iterable(axes):
        left, right = (tuple(k) if np.iterable(k) else (k,) for k in axes)
    else:
        if axes > min(a.ndim, b.ndim):
            raise IndexError("tuple index out of range")
        left, right = tuple(range(-axes, 0)), tuple(range(axes))
    left, right = normalize_axis_tuple(left, a.ndim), normalize_axis_tuple(right, b.ndim)
    if [a.shape[k] for k in left] != [b.shape[k] for k in right]:
        raise ValueError("shape-mismatch for sum")
    rows = [k for k in range(a.ndim) if k not in left]
    columns = [k for k in range(b.ndim) if k not in right]
    shape = tuple(a.shape[k] for k in rows) + tuple(b.shape[k] for k in columns)
    length = math.prod(a.shape[k] for k in left)
    A = _folded(a, (*rows, *left), (math.prod(shape[: len(rows)]), length))
    B = _folded(b, (*right, *columns), (length, math.prod(shape[len(rows) :])))
    product = p.matmul(A, B)
    return product if product.shape == shape else np.reshape(product, shape)


def _folded(a: Any, order: Sequence[int], shape: tuple[int, ...]) -> Any:
    """Transpose and reshape, where there is anything to do."""
    if tuple(order) != tuple(range(len(order))):
        a = p.transpose(a, axes=tuple(order))
    return a if a.shape == shape else p.reshape(a, shape=shape)


Labels = list[Any]


@calls(np.einsum)
def einsum(
    *operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K", casting: str = "safe"
) -> Any:
    """Contract two operands at a time, each pair as a product of (stacks of) matrices.

    An index that stands twice in one operand takes its diagonal; one that no other operand and not the result has is
    summed at once.  More than two operands are taken in the order that ``np.einsum_path`` finds.
    """
    only(out=out)
    subscripts, arrays = _subscripts(operands)
    if dtype is None and all(a.dtype == bool for a in arrays):
        return np.einsum(*operands, optimize=optimize, dtype=int) != 0  # whether any product is true
    if dtype is not None:
        arrays = [astype(a, dtype, casting=casting) for a in arrays]
    elif len(arrays) > 2:  # two plain operands may be multiplied with each other, and in a byte products overflow
        kind = np.result_type(*[a.dtype for a in arrays])
        arrays = [a if is_traced(a) else astype(a, kind) for a in arrays]
    inputs, output = _labels(subscripts, arrays)
    sizes: dict[Any, int] = {}
    for a, labels in zip(arrays, inputs, strict=True):
        for label, size in zip(labels, a.shape, strict=True):
            earlier = sizes.setdefault(label, size)
            if size not in (earlier, 1) and earlier != 1:
                raise ValueError(
                    f"operands could not be broadcast together: index {label} has sizes {earlier} and {size}"
                )
            sizes[label] = size if earlier == 1 else earlier
    for label in output:
        if label not in sizes:
            raise ValueError(
                f"einstein sum subscripts string included output subscript '{label}' which never appeared in an input"
            )
    tensors = [
        _own_sums(a, labels, _others(inputs, k, output), sizes)
        for k, (a, labels) in enumerate(zip(arrays, inputs, strict=True))
    ]
    for pair in _path(tensors, output, optimize):
        chosen = [tensors[k] for k in pair]
        tensors = [t for k, t in enumerate(tensors) if k not in pair]
        result = chosen[0]
        for k, other in enumerate(chosen[1:], 2):
            needed = {*output, *(label for _, labels in (*tensors, *chosen[k:]) for label in labels)}
            result = _contract(*result, *other, needed)
        tensors.append(result)
    a, labels = tensors[0]
    a, labels = _own_sums(a, labels, set(output), sizes)
    a = _folded(a, [labels.index(label) for label in output], a.shape if list(labels) == list(output) else tuple(
        a.shape[labels.index(label)] for label in output
    ))  # fmt: skip
    shape = tuple(sizes[label] for label in output)
    return a if a.shape == shape else np.broadcast_to(a, shape)


def _subscripts(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the subscripts as text; NumPy also takes them as lists of numbers, one after each operand."""
    if not operands:
        raise ValueError("must specify the einstein sum subscripts string and at least one operand")
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), [as_operand(a) for a in operands[1:]]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def text(labels: Any) -> str:
        return "".join("..." if k is Ellipsis else letters[k] for k in labels)

    pairs = len(operands) // 2
    written = ",".join(text(operands[2 * k + 1]) for k in range(pairs))
    if len(operands) % 2:
        written += "->" + text(operands[-1])
    return written, [as_operand(operands[2 * k]) for k in range(pairs)]


def _labels(subscripts: str, arrays: Sequence[Any]) -> tuple[list[Labels], Labels]:
    """Read the subscripts; the axes of an ellipsis are numbered from the last one, -1."""
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays):
        raise ValueError(
            "more operands provided to einstein sum function than specified in the subscripts string"
            if len(terms) < len(arrays)
            else "fewer operands provided to einstein sum function than specified in the subscripts string"
        )

    def read(term: str, ndim: int | None, widest: int) -> Labels:
        before, dots, after = term.partition("...")
        for letter in before + after:
            if not (letter.isalpha() and letter.isascii()):
                raise ValueError(
                    f"invalid subscript '{letter}' in einstein sum subscripts string, subscripts must be letters"
                )
        width = widest if ndim is None else ndim - len(before) - len(after)
        if width < 0 or (width and not dots):
            raise ValueError(
                "einstein sum subscripts string contains too many subscripts for operand" if width < 0 else
                "operand has more dimensions than subscripts given in einstein sum, "
                "but no '...' ellipsis provided to broadcast the extra dimensions."
            )  # fmt: skip
        return [*before, *(range(-width, 0) if dots else ()), *after]

    inputs = [read(term, a.ndim, 0) for term, a in zip(terms, arrays, strict=True)]
    widest = max([sum(type(label) is int for label in labels) for labels in inputs])
    if arrow:
        output = read(right, None, widest)
        if len(set(output)) != len(output):
            raise ValueError("einstein sum subscripts string includes output subscript multiple times")
        if widest and "..." not in right:
            raise ValueError("output has no '...' for the broadcast dimensions of the operands")
    else:
        letters = [label for labels in inputs for label in labels if type(label) is str]
        output = [*range(-widest, 0), *sorted(x for x in set(letters) if letters.count(x) == 1)]
    return inputs, output


def _others(inputs: Sequence[Labels], k: int, output: Labels) -> set[Any]:
    return {*output, *(label for j, labels in enumerate(inputs) if j != k for label in labels)}


def _own_sums(a: Any, labels: Labels, needed: set[Any], sizes: dict[Any, int]) -> tuple[Any, Labels]:
    """Take the diagonal of repeated indices and sum over those that nothing else needs."""
    labels = list(labels)
    for label in [label for k, label in enumerate(labels) if label in labels[:k]]:
        i = labels.index(label)
        j = labels.index(label, i + 1)
        if a.shape[i] != a.shape[j]:
            shape = tuple(sizes[label] if k in (i, j) else s for k, s in enumerate(a.shape))
            a = np.broadcast_to(a, shape)
        a = np.diagonal(a, 0, i, j)
        labels = [x for k, x in enumerate(labels) if k not in (i, j)] + [label]
    summed = tuple(k for k, label in enumerate(labels) if label not in needed)
    if summed:
        a = np.sum(a, axis=summed)
        labels = [label for k, label in enumerate(labels) if k not in summed]
    return a, labels


def _path(tensors: Sequence[tuple[Any, Labels]], output: Labels, optimize: Any) -> list[tuple[int, ...]]:
    """Return which operands meet, in order; positions count in the list that is left, as NumPy's own path does."""
    if len(tensors) == 1:
        return []
    if len(tensors) == 2:
        return [(0, 1)]
    if isinstance(optimize, (list, tuple)) and optimize and optimize[0] == "einsum_path":
        return [tuple(sorted(pair)) for pair in optimize[1:]]
    names = sorted({label for _, labels in tensors for label in labels}, key=str)
    arguments: list[Any] = []
    for a, labels in tensors:
        arguments += [np.broadcast_to(0.0, a.shape), [names.index(label) for label in labels]]
    strategy = optimize if isinstance(optimize, (str, tuple)) else "greedy"
    path = np.einsum_path(*arguments, [names.index(label) for label in output], optimize=strategy)[0]
    return [tuple(sorted(pair)) for pair in path[1:]]


def _contract(a: Any, a_labels: Labels, b: Any, b_labels: Labels, needed: set[Any]) -> tuple[Any, Labels]:
    """Multiply two operands and sum over the indices that both have and nothing else needs."""
    for label in [label for label in a_labels if label in b_labels]:
        m, n = a.shape[a_labels.index(label)], b.shape[b_labels.index(label)]
        if m != n and m == 1:  # broadcast: the index is the other's alone
            a, a_labels = np.squeeze(a, a_labels.index(label)), [x for x in a_labels if x != label]
        elif m != n:
            b, b_labels = np.squeeze(b, b_labels.index(label)), [x for x in b_labels if x != label]
    sizes = dict(zip(a_labels, a.shape, strict=True)) | dict(zip(b_labels, b.shape, strict=True))
    a, a_labels = _own_sums(a, a_labels, {*needed, *b_labels}, sizes)
    b, b_labels = _own_sums(b, b_labels, {*needed, *a_labels}, sizes)
    both = [label for label in a_labels if label in b_labels]
    stacked, summed = [x for x in both if x in needed], [x for x in both if x not in needed]
    rows, columns = [x for x in a_labels if x not in both], [x for x in b_labels if x not in both]
    if not summed or (stacked and not rows and not columns):
        together = [*a_labels, *columns]
        product = _spread(a, a_labels, together) * _spread(b, b_labels, together)
        return _own_sums(product, together, needed, sizes)

    def length(labels: Labels) -> int:
        return math.prod(sizes[x] for x in labels)

    def folded(x: Any, labels: Labels, order: Labels, shape: tuple[int, ...]) -> Any:
        return _folded(x, [labels.index(label) for label in order], shape)

    stack = (length(stacked),) if stacked else ()
    A = folded(
        a, a_labels, [*stacked, *rows, *summed], (*stack, *((length(rows),) if rows or stack else ()), length(summed))
    )
    B = folded(
        b,
        b_labels,
        [*stacked, *summed, *columns],
        (*stack, length(summed), *((length(columns),) if columns or stack else ())),
    )
    result = [*stacked, *rows, *columns]
    product = p.matmul(A, B)
    shape = tuple(sizes[x] for x in result)
    return product if product.shape == shape else np.reshape(product, shape), result


def _spread(a: Any, labels: Labels, together: Labels) -> Any:
    order = [labels.index(label) for label in together if label in labels]
    shape = tuple(a.shape[labels.index(label)] if label in labels else 1 for label in together)
    return _folded(a, order, shape)


@calls(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    return np.einsum_path(
        *[np.broadcast_to(0.0, a.shape) if hasattr(a, "shape") else a for a in operands], optimize=optimize
    )

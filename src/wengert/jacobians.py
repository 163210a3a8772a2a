"""Local Jacobians: what stands on an edge of the linearized graph, as a linear map that knows its structure.

An edge from ``u_j`` to ``u_i`` carries the local partial ``du_i/du_j``.  For arrays that is a matrix with
``u_i.size`` rows and ``u_j.size`` columns, and almost never one to write down: it is a diagonal (every elementwise
function), a selection of rows (indexing), a sum, a product with a fixed matrix.  Each class here is one such structure.
It can be

- *pushed* through: ``J.push(x_dot)``, or ``J @ x_dot``, carries a tangent forward;
- *pulled* through: ``J.pull(y_bar)``, or ``J.T @ y_bar``, carries an adjoint back;
- composed and added: ``J @ K``, ``J + K``; diagonals stay diagonals;
- written down: ``J.dense()``, ``J.sparse()``; and counted: ``J.counts()``.

A block of tangents or adjoints travels at once as one array with a leading axis (vector mode): ``batch=1``.

Everything is plain NumPy on whatever it is given, so on traced values a sweep writes a Program instead of numbers.

>>> import numpy as np
>>> J = Diagonal(np.array([2.0, 3.0]), (2,), (2,))
>>> J @ np.array([1.0, 1.0])
array([2., 3.])
>>> (J @ Select((0,), (2, 2))).dense()
array([[2., 0., 0., 0.],
       [0., 3., 0., 0.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:  # SciPy's sparse arrays take longer to import than all of this package
    from scipy import sparse

Array = Any
Shape = tuple[int, ...]
Counts = dict[str, int]


# ---- The functions that every elementwise line goes through ----


def scale(c: Array, t: Array) -> Array:
    """Multiply by a partial; a rule that says 1 or -1 costs no multiplication."""
    if type(c) is int:
        return t if c == 1 else -t if c == -1 else c * t
    return t * c if type(c) is complex else c * t  # complex * float64 would be Python's, without a shape


def product_of_nonzeros(c: Array, t: Array) -> Array:
    """Multiply so that a zero factor gives zero whatever the other is: no contribution is no contribution.

    A factor is replaced only where it is infinite or NaN, for the product may be differentiated: at a zero, too, its
    derivative is the other factor.

    >>> float(product_of_nonzeros(np.array(np.inf), np.array(0.0)))
    0.0
    """
    if type(c) is int:
        return scale(c, t)
    return np.where((t == 0) & ~np.isfinite(c), 0.0, c) * np.where((c == 0) & ~np.isfinite(t), 0.0, t)


def push_diagonal(
    c: Array, t: Array, in_shape: Shape, out_shape: Shape, batch: int, product: Callable[[Array, Array], Array] = scale
) -> Array:
    """Multiply a tangent by a diagonal partial, broadcasting it as the line itself broadcast its operand."""
    if batch and len(in_shape) < len(out_shape):
        t = t.reshape(t.shape[:batch] + (1,) * (len(out_shape) - len(in_shape)) + in_shape)
    pushed = product(c, t)
    full = t.shape[:batch] + out_shape
    return pushed if pushed.shape == full else np.broadcast_to(pushed, full)


def pull_diagonal(c: Array, g: Array, in_shape: Shape, batch: int) -> Array:
    """Multiply an adjoint by a diagonal partial, summing over the axes along which the operand was broadcast."""
    product = scale(c, g)
    shape = product.shape
    if shape[batch:] == in_shape:
        return product
    if not (in_shape or batch) and type(product) is np.ndarray and product.size <= LARGE:
        return np.add.reduce(product, axis=None)
    extra = len(shape) - batch - len(in_shape)
    axes = tuple(range(batch, batch + extra))
    if 1 in in_shape:
        start = batch + extra
        axes += tuple([start + axis for axis, size in enumerate(in_shape) if size == 1 and shape[start + axis] != 1])
    product = add_up(product, axes, not extra)
    full = shape[:batch] + in_shape
    return product if product.shape == full else product.reshape(full)


# ---- The same for large plain arrays, where NumPy's loops over short axes would take most of the time ----

_PLAIN, _FLOAT64 = frozenset({np.ndarray, np.float64}), np.dtype(np.float64)
LARGE = 2048
"""From so many elements on it pays to look for a way around a slow loop."""
SHORT = 128
"""From so many elements on it pays to add up a short axis by slices."""
_SUMMABLE = frozenset("fdFD")


def add_up(x: Array, axes: Shape, keepdims: bool, exact: bool = False) -> Array:
    """Sum over axes; with `exact`, bit for bit as NumPy does.

    Fewer than eight numbers NumPy adds one after the other, so adding slices gives the same bits, many times faster.
    Rows of few elements are added by a product with ones, which rounds differently.
    """
    if type(x) is not np.ndarray:
        return x.sum(axis=axes, keepdims=keepdims)
    if x.size > SHORT and axes and x.dtype.char in _SUMMABLE:
        last = x.shape[-1]
        few = 8 if x.dtype.char in "fd" else 4  # of complex numbers, both parts count
        if len(axes) == 1 and 1 < last < few and last * last * 16 < x.size and axes[0] in (-1, x.ndim - 1):
            y = np.add(x[..., 0], x[..., 1])
            for k in range(2, last):
                y += x[..., k]
            return y[..., None] if keepdims else y
        width = math.prod(x.shape[len(axes) :])
        in_front = x.size > LARGE and len(axes) < x.ndim and axes == tuple(range(len(axes)))
        if in_front and not exact and width <= 64 and x.flags.c_contiguous:
            rows = x.reshape((-1, width))
            y = np.matmul(np.ones(len(rows), x.dtype), rows)
            if np.isfinite(y).all():  # else by NumPy's own loop, which reports what BLAS does not
                return y.reshape(((1,) * len(axes) if keepdims else ()) + x.shape[len(axes) :])
    reduce: Any = np.add.reduce
    return reduce(x, axis=axes, keepdims=keepdims)


def contract(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> Array:
    """Sum all products of two plain arrays of one shape, without writing the products down.

    >>> contract(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    total = np.dot(c.reshape(-1), g.reshape(-1))
    return total if math.isfinite(total) else np.add.reduce(np.multiply(c, g), axis=None)  # which reports an infinity


def multiply_out(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> Array:
    """Multiply arrays of different shapes; where the last axis is short, along the others."""
    last = g.shape[-1] if g.ndim else 0
    if not 1 < last < 5 or c.size == 1 or c.ndim > g.ndim or c.shape == g.shape:
        return np.multiply(c, g)
    shape = np.broadcast_shapes(c.shape, g.shape)
    if shape[-1] != last:
        return np.multiply(c, g)
    product = np.empty(shape, np.result_type(c, g))
    for k in range(last):
        np.multiply(c[..., k if c.shape[-1] > 1 else 0], g[..., k], out=product[..., k])
    return product


def pull_large(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any], in_shape: Shape, batch: int) -> Array:
    """Do as `pull_diagonal`; if all is summed up, without writing the products down."""
    if not batch and math.prod(in_shape) == 1 and c.dtype is g.dtype and c.dtype.char in _SUMMABLE:
        total = c.reshape(-1)[0] * add_up(g, tuple(range(g.ndim)), False) if c.size == 1 else None
        if c.shape == g.shape:
            total = np.dot(c.reshape(-1), g.reshape(-1))
        if total is not None and np.isfinite(total):  # 0 * inf has to be met, and reported, one by one
            return total.reshape(in_shape) if in_shape else total
    return pull_diagonal(1, multiply_out(c, g), in_shape, batch)


# ---- Putting pieces into an array of zeros: the transpose of indexing, which NumPy has no function for ----


def assemble(pieces: Sequence[Array], indices: Sequence[Any], shape: Shape, batch: int = 0) -> Array:
    """Add each piece into an array of zeros of `shape`, at its index (repeated positions add up).

    Dispatches by NumPy's own protocol (NEP 18), as a NumPy function would.

    >>> assemble([np.array(5.0), np.array([1.0, 2.0])], [(0,), (slice(0, 2),)], (3,))
    array([6., 2., 0.])
    """
    if not batch and type(pieces[0]) in _PLAIN:
        total = np.zeros(shape)
        for piece, index in zip(pieces, indices, strict=True):
            kind = type(piece)
            if kind is np.float64 and is_basic(index):
                total[index] += piece
            elif kind is np.ndarray and piece.dtype is _FLOAT64 and is_basic(index):
                add_into(total, index, piece)
            else:
                break
        else:
            return total  # as most are
    for piece in pieces:
        kind = type(piece)
        if kind is not np.ndarray and kind is not np.float64 and hasattr(kind, "__array_function__"):
            return piece.__array_function__(assemble, (kind,), (pieces, indices, shape), {"batch": batch})
    basic = [is_basic(index) for index in indices]
    for index, simple in zip(indices, basic, strict=True):
        traced = None if simple else _traced_item(index)
        if traced is not None:
            return traced.__array_function__(assemble, (type(traced),), (pieces, indices, shape), {"batch": batch})
    if len(pieces) == 1 and not batch and not basic[0]:
        counted = _count_up(pieces[0], indices[0], shape)
        if counted is not None:
            return counted
    leading: Shape = np.shape(pieces[0])[:batch] if batch else ()
    total = np.zeros(leading + shape, _common_dtype(pieces))
    free = (slice(None),) * batch
    for piece, index, simple in zip(pieces, indices, basic, strict=True):
        if simple:
            add_into(total, free + index if batch else index, piece)
        else:
            add_at(total, piece, index, shape, batch)
    return total


def add_into(whole: np.ndarray[Any, Any], index: Any, piece: Array) -> None:
    """Add to part of an array; ``whole[index] += piece`` would copy the part once more."""
    part = whole[index]
    if type(part) is np.ndarray:
        np.add(part, piece, out=part)
    else:
        whole[index] = part + piece


def _common_dtype(arrays: Sequence[Array]) -> np.dtype[Any]:
    """Return np.result_type, without asking NumPy where all are the same."""
    first: np.dtype[Any] | None = getattr(arrays[0], "dtype", None)
    for a in arrays[1:]:
        if getattr(a, "dtype", None) is not first:
            return np.result_type(*arrays)
    return np.result_type(*arrays) if first is None else first


def add_at(total: np.ndarray[Any, Any], piece: Array, index: Any, shape: Shape, batch: int) -> None:
    """Add a piece into an array at positions that may repeat."""
    flat = flat_positions(index, shape)
    leading = total.shape[:batch]
    view = total.reshape((*leading, math.prod(shape)))
    at: Any = (*(slice(None),) * batch, flat.ravel())
    np.add.at(view, at, np.reshape(piece, (*leading, flat.size)))  # unbuffered: repeats add up


def _count_up(piece: Array, index: Any, shape: Shape) -> np.ndarray[Any, Any] | None:
    """Assemble one piece by np.bincount, which is the quickest sum by position; None where it does not apply."""
    if type(piece) is not np.ndarray or piece.dtype.char != "d" or not piece.size:
        return None
    only: Any = index[0] if len(index) == 1 else None
    if type(only) is np.ndarray and only.ndim == 1 and only.dtype == np.intp:
        width = math.prod(shape[1:])
        if piece.size > LARGE and 0 < width <= 16 and only.min() >= 0:
            total = np.empty((shape[0], width))  # column by column: no table of the positions of all elements
            columns = piece.reshape((-1, width))
            for k in range(width):
                total[:, k] = np.bincount(only, columns[:, k], shape[0])
            return total.reshape(shape)
    flat = flat_positions(index, shape)
    return np.bincount(flat.reshape(-1), piece.reshape(-1), math.prod(shape)).reshape(shape)


def is_basic(index: Any) -> bool:
    """Tell whether an index tuple holds only integers, slices, newaxis and the ellipsis."""
    for item in index:
        kind = type(item)
        if kind is not int and kind is not slice and item is not None and item is not Ellipsis:
            return False
    return True


def _traced_item(index: Any) -> Any:
    """Return the first part of an index that is itself being traced, None if there is none."""
    for item in index:
        kind = type(item)
        if kind is not int and kind is not slice and kind is not np.ndarray and hasattr(kind, "__array_function__"):
            return item
    return None


def _present(index: Any) -> Any:
    """Return an index with the present values of those parts of it that are being traced."""
    while _traced_item(index) is not None:
        index = tuple(getattr(item, "value", item) for item in index)
    return index


def flat_positions(index: Any, shape: Shape) -> np.ndarray[Any, Any]:
    """Return the flat position in an array of `shape` of every element that `index` selects."""
    if len(shape) == 1 and len(index) == 1:
        (only,) = index
        if type(only) is np.ndarray and only.dtype == np.intp and only.size and only.min() >= 0:
            return only
    return np.asarray(np.arange(math.prod(shape)).reshape(shape)[index])


def take(t: Array, index: Any, shape: Shape, batch: int) -> Array:
    """Index the last axes of a block of arrays of `shape`, as `index` would index one of them."""
    traced = _traced_item(index)
    if traced is not None:
        return traced.__array_function__(take, (type(traced),), (t, index, shape, batch), {})
    if not batch:
        return t[index]
    if is_basic(index):
        return t[(slice(None),) * batch + index]
    flat = flat_positions(index, shape)
    leading = t.shape[:batch]
    return t.reshape((*leading, math.prod(shape)))[(slice(None),) * batch + (flat.ravel(),)].reshape(
        leading + flat.shape
    )


# ---- The structures ----


class LocalJacobian:
    """A linear map from arrays of `in_shape` to arrays of `out_shape`: one edge of the linearized graph."""

    __slots__ = ("in_shape", "out_shape")
    in_shape: Shape
    out_shape: Shape

    def push(self, t: Array, batch: int = 0) -> Array:
        """Carry a tangent (or, with ``batch=1``, a block of them) forward."""
        raise NotImplementedError

    def pull(self, g: Array, batch: int = 0) -> Array:
        """Carry an adjoint (or, with ``batch=1``, a block of them) back."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """Count the operations of one push (a pull takes as many, give or take the order of its additions)."""
        return {}

    def formula(self, operand: str) -> str:
        """Write the pull in the notation of matrices, with `operand` for the adjoint."""
        return f"{type(self).__name__}^T({operand})"

    @property
    def T(self) -> LocalJacobian:
        """The transposed map."""
        return Transposed(self)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LocalJacobian):
            return compose(self, other)
        return self.push(other)

    def __add__(self, other: LocalJacobian) -> LocalJacobian:
        return add(self, other)

    def dense(self) -> np.ndarray[Any, Any]:
        """Write the matrix down: ``prod(out_shape)`` rows, ``prod(in_shape)`` columns."""
        size = math.prod(self.in_shape)
        columns = self.push(np.eye(size).reshape((size, *self.in_shape)), 1)
        return np.asarray(columns).reshape((size, math.prod(self.out_shape))).T.copy()

    def sparse(self) -> sparse.csr_array:
        """Write the matrix down as a SciPy sparse array."""
        from scipy import sparse

        return sparse.csr_array(self.dense())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_shape} -> {self.out_shape})"


class Diagonal(LocalJacobian):
    """``y_dot = c * x_dot``, `x_dot` broadcast to the shape of `y`: the partial of every elementwise function."""

    __slots__ = ("c",)

    def __init__(self, c: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.c, self.in_shape, self.out_shape = c, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return push_diagonal(self.c, t, self.in_shape, self.out_shape, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return pull_diagonal(self.c, g, self.in_shape, batch)

    def counts(self) -> Counts:
        if type(self.c) is int and self.c in (1, -1):
            return {}
        return {"multiplications": math.prod(self.out_shape)}

    def formula(self, operand: str) -> str:
        return f"{operand} * c"

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        columns = np.broadcast_to(np.arange(math.prod(self.in_shape)).reshape(self.in_shape), self.out_shape)
        values = np.broadcast_to(self.c, self.out_shape).astype(float)
        size = math.prod(self.out_shape)
        return sparse.csr_array(
            (values.ravel(), (np.arange(size), columns.ravel())), shape=(size, math.prod(self.in_shape))
        )


class Select(LocalJacobian):
    """``y_dot = x_dot[index]``: rows of the identity."""

    __slots__ = ("index",)

    def __init__(self, index: Any, in_shape: Shape, out_shape: Shape | None = None) -> None:
        self.index, self.in_shape = index, in_shape
        self.out_shape = np.empty(in_shape)[index].shape if out_shape is None else out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return take(t, self.index, self.in_shape, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return assemble([g], [self.index], self.in_shape, batch=batch)

    def formula(self, operand: str) -> str:
        return f"{operand} put back at its index"

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        columns = flat_positions(self.index, self.in_shape).ravel()
        shape = (columns.size, math.prod(self.in_shape))
        return sparse.csr_array((np.ones(columns.size), (np.arange(columns.size), columns)), shape=shape)


class Place(LocalJacobian):
    """``y_dot[index] = x_dot``, zero elsewhere: what is assigned to part of an array, broadcast as NumPy does."""

    __slots__ = ("index",)

    def __init__(self, index: Any, in_shape: Shape, out_shape: Shape) -> None:
        self.index, self.in_shape, self.out_shape = index, in_shape, out_shape

    @property
    def region(self) -> Shape:
        """The shape of what the index selects."""
        return tuple(np.empty(self.out_shape, np.bool_)[_present(self.index)].shape)

    def push(self, t: Array, batch: int = 0) -> Array:
        return assemble(
            [self._where_it_lasts(push_diagonal(1, t, self.in_shape, self.region, batch))],
            [self.index],
            self.out_shape,
            batch=batch,
        )

    def pull(self, g: Array, batch: int = 0) -> Array:
        part = self._where_it_lasts(take(g, self.index, self.out_shape, batch))
        if type(part) is np.ndarray and part.base is not None:
            part = part.copy()  # the adjoint of the array itself is erased in place next
        return pull_diagonal(1, part, self.in_shape, batch)

    def _where_it_lasts(self, part: Array) -> Array:
        """Drop what the same assignment overwrites: of repeated positions the last one stays."""
        if is_basic(self.index):
            return part
        flat = flat_positions(_present(self.index), self.out_shape)
        last = np.zeros(math.prod(self.out_shape), np.intp)
        last[flat.ravel()] = np.arange(flat.size)
        lasts = last[flat.ravel()] == np.arange(flat.size)
        return part if lasts.all() else np.where(lasts.reshape(flat.shape), part, 0.0)


class Erase(LocalJacobian):
    """``y_dot = x_dot`` with zeros at `index`: what is left of an array that part of is assigned to."""

    __slots__ = ("index",)

    def __init__(self, index: Any, in_shape: Shape) -> None:
        self.index, self.in_shape, self.out_shape = index, in_shape, in_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        if type(t) is np.ndarray and is_basic(self.index):
            erased = t.copy()
            erased[(slice(None),) * batch + self.index] = 0
            return erased
        if _traced_item(self.index) is not None:
            region = np.empty(self.in_shape, np.bool_)[_present(self.index)].shape
            return np.where(assemble([np.ones(region)], [self.index], self.in_shape) == 0, t, 0.0)
        left = np.ones(self.in_shape, np.bool_)
        left[self.index] = False
        return np.where(left, t, 0.0)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.push(g, batch)

    def erase(self, g: np.ndarray[Any, Any], batch: int = 0) -> np.ndarray[Any, Any]:
        """Pull an adjoint that nobody else holds: in place."""
        g[(slice(None),) * batch + self.index] = 0
        return g

    @property
    def T(self) -> LocalJacobian:
        return self


class RealLinear(LocalJacobian):
    """``y_dot = a * x_dot + b * conj(x_dot)``: the diagonal of a function of complex numbers that is not holomorphic.

    An adjoint `g` stands for ``dL = Re(g dz)``, so that of `x` is ``a g + conj(b g)``.
    """

    __slots__ = ("a", "b")

    def __init__(self, a: Array, b: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.a, self.b, self.in_shape, self.out_shape = a, b, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        holomorphic = push_diagonal(self.a, t, self.in_shape, self.out_shape, batch)
        return holomorphic + push_diagonal(self.b, np.conj(t), self.in_shape, self.out_shape, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        holomorphic = pull_diagonal(self.a, g, self.in_shape, batch)
        return holomorphic + np.conj(pull_diagonal(self.b, g, self.in_shape, batch))


class Sum(LocalJacobian):
    """``y_dot = x_dot.sum(axis)``: rows of ones.  Axes count from the end (negative)."""

    __slots__ = ("axis", "keepdims")

    def __init__(self, in_shape: Shape, axis: Shape, keepdims: bool, out_shape: Shape | None = None) -> None:
        self.in_shape, self.axis, self.keepdims = in_shape, axis, keepdims
        if out_shape is None:
            kept = self._kept()
            out_shape = kept if keepdims else tuple(s for k, s in enumerate(in_shape) if k - len(in_shape) not in axis)
        self.out_shape = out_shape

    def _kept(self) -> Shape:
        if len(self.axis) == 1:  # a generator would take longer than the sum
            (k,) = self.axis
            return (*self.in_shape[:k], 1, *(self.in_shape[k + 1 :] if k != -1 else ()))
        ndim = len(self.in_shape)
        return tuple(1 if k - ndim in self.axis else s for k, s in enumerate(self.in_shape))

    def push(self, t: Array, batch: int = 0) -> Array:
        return t.sum(axis=self.axis, keepdims=self.keepdims)

    def pull(self, g: Array, batch: int = 0) -> Array:
        leading = g.shape[:batch]
        if not self.keepdims and g.ndim:
            g = g.reshape(leading + self._kept())
        if type(g) is np.float64:  # as np.broadcast_to does, which takes thrice as long for a scalar
            return np.ndarray(self.in_shape, g.dtype, g, 0, (0,) * len(self.in_shape))
        shape = leading + self.in_shape
        if type(g) is np.ndarray:  # and a copy is quicker than a view where it is small, or the last axis is short
            if math.prod(shape) <= 4096:
                spread = np.empty(shape, g.dtype)
                spread[...] = g
                return spread
            if self.axis == (-1,) and shape[-1] < 5 and g.ndim == len(shape):
                spread = np.empty(shape, g.dtype)
                for k in range(shape[-1]):
                    spread[..., k] = g[..., 0]
                return spread
        return np.broadcast_to(g, shape)

    def counts(self) -> Counts:
        return {"additions": math.prod(self.in_shape) - math.prod(self.out_shape)}

    def formula(self, operand: str) -> str:
        return f"{operand} broadcast to {self.in_shape}"


class Reshape(LocalJacobian):
    """``y_dot = x_dot.reshape(out_shape)``: the identity, folded differently."""

    __slots__ = ()

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape, self.out_shape = in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return t.reshape(t.shape[:batch] + self.out_shape)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return g.reshape(g.shape[:batch] + self.in_shape)

    def formula(self, operand: str) -> str:
        return f"{operand} reshaped to {self.in_shape}"


class Permute(LocalJacobian):
    """``y_dot = x_dot.transpose(axes)``: a permutation of axes."""

    __slots__ = ("axes",)

    def __init__(self, in_shape: Shape, axes: Shape, out_shape: Shape | None = None) -> None:
        self.in_shape, self.axes = in_shape, axes
        self.out_shape = tuple(in_shape[a] for a in axes) if out_shape is None else out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return np.transpose(t, (*range(batch), *(a + batch for a in self.axes)))

    def pull(self, g: Array, batch: int = 0) -> Array:
        if self.axes == (1, 0) and not batch:
            return g.T
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return np.transpose(g, (*range(batch), *(a + batch for a in inverse)))

    def formula(self, operand: str) -> str:
        return f"{operand}^T"


class LeftProduct(LocalJacobian):
    """``y_dot = A @ x_dot``, each a vector, a matrix or a stack of matrices (a stack never with a vector)."""

    __slots__ = ("A",)

    def __init__(self, A: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.A, self.in_shape, self.out_shape = A, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        if len(self.in_shape) == 1:
            return np.matmul(t, _transpose(self.A))
        return np.matmul(self.A, _spread(t, self.in_shape, self.out_shape, batch))

    def pull(self, g: Array, batch: int = 0) -> Array:
        A = self.A
        if len(self.in_shape) == 1:
            return g[..., None] * A if A.ndim == 1 else np.matmul(g, A)
        if A.ndim == 1:
            return A[:, None] * g[..., None, :]
        if not batch and len(self.in_shape) == 2 < A.ndim and type(A) is np.ndarray is type(g):
            return np.matmul(_in_rows(A).T, _in_rows(g))  # the stack is summed over
        return pull_diagonal(1, np.matmul(_transpose(A), g), self.in_shape, batch)

    def counts(self) -> Counts:
        return product_counts(self.out_shape, self.A.shape[-1])

    def formula(self, operand: str) -> str:
        return f"A^T {operand}"


class RightProduct(LocalJacobian):
    """``y_dot = x_dot @ B``, each a vector, a matrix or a stack of matrices (a stack never with a vector)."""

    __slots__ = ("B",)

    def __init__(self, B: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.B, self.in_shape, self.out_shape = B, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return np.matmul(_spread(t, self.in_shape, self.out_shape, batch), self.B)

    def pull(self, g: Array, batch: int = 0) -> Array:
        if self.B.ndim == 1:
            return g[..., None] * self.B
        if len(self.in_shape) == 1:
            return np.matmul(g, _transpose(self.B))
        if type(g) is np.ndarray and self.B.ndim == 2 < g.ndim and g.flags.c_contiguous:  # one product, not a stack
            flat = np.matmul(_in_rows(g), self.B.T)
            return pull_diagonal(1, flat.reshape(g.shape[:-1] + flat.shape[-1:]), self.in_shape, batch)
        return pull_diagonal(1, np.matmul(g, _transpose(self.B)), self.in_shape, batch)

    def counts(self) -> Counts:
        return product_counts(self.out_shape, self.B.shape[0 if self.B.ndim == 1 else -2])

    def formula(self, operand: str) -> str:
        return f"{operand} B^T"


class Dense(LocalJacobian):
    """A matrix written down, ``prod(out_shape)`` rows by ``prod(in_shape)`` columns."""

    __slots__ = ("matrix",)

    def __init__(self, matrix: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.matrix, self.in_shape, self.out_shape = matrix, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        leading = t.shape[:batch]
        flat = t.reshape((*leading, math.prod(self.in_shape), 1))
        return np.matmul(self.matrix, flat).reshape(leading + self.out_shape)

    def pull(self, g: Array, batch: int = 0) -> Array:
        leading = g.shape[:batch]
        flat = g.reshape((*leading, 1, math.prod(self.out_shape)))
        return np.matmul(flat, self.matrix).reshape(leading + self.in_shape)

    def counts(self) -> Counts:
        return product_counts((math.prod(self.out_shape),), math.prod(self.in_shape))

    def dense(self) -> np.ndarray[Any, Any]:
        return cast("np.ndarray[Any, Any]", self.matrix)


class Map(LocalJacobian):
    """A linear map given by its two actions, each a function of a block of arrays (leading axes free)."""

    __slots__ = ("_counts", "_pull", "_push", "name")

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        push: Callable[[Array], Array],
        pull: Callable[[Array], Array],
        counts: Counts | Callable[[], Counts] | None = None,
        name: str = "J",
    ) -> None:
        self.in_shape, self.out_shape = in_shape, out_shape
        self._push, self._pull, self._counts, self.name = push, pull, counts or {}, name

    def push(self, t: Array, batch: int = 0) -> Array:
        return self._push(t)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self._pull(g)

    def counts(self) -> Counts:
        return self._counts() if callable(self._counts) else self._counts

    def formula(self, operand: str) -> str:
        return f"{self.name}^T({operand})"


class Transposed(LocalJacobian):
    """The transpose of a map: push and pull change places."""

    __slots__ = ("of",)

    def __init__(self, of: LocalJacobian) -> None:
        self.of, self.in_shape, self.out_shape = of, of.out_shape, of.in_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return self.of.pull(t, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.of.push(g, batch)

    def counts(self) -> Counts:
        return self.of.counts()

    @property
    def T(self) -> LocalJacobian:
        return self.of

    def formula(self, operand: str) -> str:
        return f"{operand} taken at its index" if isinstance(self.of, Select) else f"{self!r}({operand})"


class Composed(LocalJacobian):
    """``y_dot = outer @ (inner @ x_dot)``."""

    __slots__ = ("inner", "outer")

    def __init__(self, outer: LocalJacobian, inner: LocalJacobian) -> None:
        self.outer, self.inner = outer, inner
        self.in_shape, self.out_shape = inner.in_shape, outer.out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return self.outer.push(self.inner.push(t, batch), batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.inner.pull(self.outer.pull(g, batch), batch)

    def counts(self) -> Counts:
        return sum_counts(self.outer.counts(), self.inner.counts())

    def formula(self, operand: str) -> str:
        return self.inner.formula(self.outer.formula(operand))

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        return sparse.csr_array(self.outer.sparse() @ self.inner.sparse())


class Added(LocalJacobian):
    """``y_dot = left @ x_dot + right @ x_dot``."""

    __slots__ = ("left", "right")

    def __init__(self, left: LocalJacobian, right: LocalJacobian) -> None:
        self.left, self.right = left, right
        self.in_shape, self.out_shape = left.in_shape, left.out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return self.left.push(t, batch) + self.right.push(t, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.left.pull(g, batch) + self.right.pull(g, batch)

    def counts(self) -> Counts:
        extra = {"additions": math.prod(self.out_shape)}
        return sum_counts(sum_counts(self.left.counts(), self.right.counts()), extra)

    def formula(self, operand: str) -> str:
        return f"{self.left.formula(operand)} + {self.right.formula(operand)}"

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        return sparse.csr_array(self.left.sparse() + self.right.sparse())


def compose(outer: LocalJacobian, inner: LocalJacobian) -> LocalJacobian:
    """Multiply two local Jacobians, keeping the structure where the product has one of its own."""
    if isinstance(outer, Diagonal) and isinstance(inner, Diagonal) and outer.in_shape == outer.out_shape:
        return Diagonal(outer.c * inner.c, inner.in_shape, outer.out_shape)
    if isinstance(outer, Dense) and isinstance(inner, Dense):
        return Dense(np.matmul(outer.matrix, inner.matrix), inner.in_shape, outer.out_shape)
    return Composed(outer, inner)


def add(left: LocalJacobian, right: LocalJacobian) -> LocalJacobian:
    """Add two local Jacobians of parallel edges, keeping the structure where the sum has one of its own."""
    if isinstance(left, Diagonal) and isinstance(right, Diagonal):
        return Diagonal(left.c + right.c, left.in_shape, left.out_shape)
    if isinstance(left, Dense) and isinstance(right, Dense):
        return Dense(left.matrix + right.matrix, left.in_shape, left.out_shape)
    return Added(left, right)


def product_counts(out_shape: Shape, length: int) -> Counts:
    """Count a product of matrices with `out_shape` sums of `length` products each."""
    size = math.prod(out_shape)
    return {"multiplications": size * length, "additions": size * max(length - 1, 0)}


def sum_counts(a: Counts, b: Counts) -> Counts:
    """Add two tables of counts."""
    return {key: a.get(key, 0) + b.get(key, 0) for key in (*a, *(k for k in b if k not in a))}


def _spread(t: Array, in_shape: Shape, out_shape: Shape, batch: int) -> Array:
    """Make room for the stack's own leading axes between those of the block and those of the matrix."""
    missing = len(out_shape) - len(in_shape)
    if not batch or missing <= 0:
        return t
    return t.reshape(t.shape[:batch] + (1,) * missing + in_shape)


def _in_rows(a: Array) -> Array:
    """Return the rows of a stack of matrices, one below the other."""
    return a.reshape((math.prod(a.shape[:-1]), a.shape[-1]))


def _transpose(a: Array) -> Array:
    return a if a.ndim == 1 else a.T if a.ndim == 2 else np.swapaxes(a, -1, -2)

"""Structures: the local Jacobian on an edge of the linearized graph, as a linear map with its structure.

An edge from ``u_j`` to ``u_i`` carries the local partial ``du_i/du_j``.  For arrays that is a matrix with
``u_i.size`` rows and ``u_j.size`` columns.  It is almost never stored, since it has a structure: a diagonal (every
elementwise function), a selection of rows (indexing), a sum, a product with a fixed matrix.  Each class here is one
such structure.  It can be

- *pushed* through: ``J.push(x_dot)``, or ``J @ x_dot``, carries a tangent forward;
- *pulled* through: ``J.pull(y_bar)``, or ``J.T @ y_bar``, carries an adjoint back;
- multiplied and added: ``J @ K``, ``J + K`` (see `products`);
- written down: ``J.dense()``, ``J.sparse()``, ``J.pattern()``; and counted: ``J.counts()``;
- asked on which variables its result depends: ``J.carry(pattern)``.

A block of tangents or adjoints travels at once as one array with a leading axis (vector mode): ``batch=1``.

>>> import numpy as np
>>> Sum((2, 3), (-1,), keepdims=False).dense()
array([[1., 1., 1., 0., 0., 0.],
       [0., 0., 0., 1., 1., 1.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from wengert.jacobians.arrays import (
    LARGE,
    Array,
    Shape,
    assemble,
    at_first,
    count_overlaps,
    erase,
    flat_positions,
    index_values,
    is_basic,
    pull_diagonal,
    push_diagonal,
    shape_of_selection,
    take,
    traced_item,
    unknown_axes,
)
from wengert.jacobians.index_domains import IndexDomains, matrix_of_nonzeros, matrix_of_pairs, nothing
from wengert.jacobians.probing import is_selection, move_exactly, probed

if TYPE_CHECKING:  # SciPy's sparse arrays take longer to import than all of this package
    from scipy import sparse

Counts = dict[str, int]
THIN = 16
"""A stack of matrices of up to so many rows (or columns) meets a large matrix in one product."""


class LocalJacobian:
    """A linear map from arrays of `in_shape` to arrays of `out_shape`: one edge of the linearized graph."""

    __slots__ = ("in_shape", "out_shape")
    in_shape: Shape
    out_shape: Shape
    moves = False
    """True if elements are only moved, chosen and added, so that every zero of the matrix is one of structure."""
    support: Array | None = None
    """Where elements of the result depend on the operand at all, broadcast to `out_shape`; None for everywhere."""
    structure: LocalJacobian | None = None
    """A map that moves elements, with zeros where this one has zeros of structure; None where no more is known."""

    def push(self, t: Array, batch: int = 0) -> Array:
        """Carry a tangent (or, with ``batch=1``, a block of them) forward."""
        raise NotImplementedError

    def pull(self, g: Array, batch: int = 0) -> Array:
        """Carry an adjoint (or, with ``batch=1``, a block of them) back."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """Count the operations of one push; a pull takes as many, up to the order of its additions."""
        return {}

    def formula(self, operand: str) -> str:
        """Return the pull in the notation of matrices, with `operand` for the adjoint."""
        return f"{type(self).__name__}^T({operand})"

    @property
    def T(self) -> LocalJacobian:
        """The transposed map."""
        return Transposed(self)

    @property
    def entries(self) -> int:
        """The number of stored numbers: none for a map that only moves or adds elements."""
        return 0

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LocalJacobian):
            return compose(self, other)
        return self.push(other)

    def __add__(self, other: LocalJacobian) -> LocalJacobian:
        return add(self, other)

    def dense(self) -> np.ndarray[Any, Any]:
        """Return the matrix: ``prod(out_shape)`` rows, ``prod(in_shape)`` columns."""
        size = math.prod(self.in_shape)
        columns = self.push(np.eye(size).reshape((size, *self.in_shape)), 1)
        return np.asarray(columns).reshape((size, math.prod(self.out_shape))).T.copy()

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        """Return on which variables the result depends, if the operand depends on those of `pattern`.

        If the numbers of the matrix are `fixed`, its zeros are no entries.  Otherwise it holds for all numbers that the
        structure may have.
        """
        matrix = probed(self) if fixed else None
        return pattern.mixed(self.out_shape) if matrix is None else pattern.through(matrix, self.out_shape)

    def _moved(self, pattern: IndexDomains) -> IndexDomains:
        """Return on which variables the result depends of a map that moves elements, or leaves them out."""
        return pattern.moved(lambda block: self.push(block, 1), self.out_shape)

    def pattern(self, fixed: bool = True) -> sparse.csr_array:
        """Return where the matrix may have entries, as a SciPy array of booleans; see `carry`.

        >>> Sum((2, 2), (-1,), False).pattern().toarray().astype(int)
        array([[1, 1, 0, 0],
               [0, 0, 1, 1]])
        """
        return self.carry(IndexDomains.identity(self.in_shape, 0, math.prod(self.in_shape)), fixed).csr()

    def sparse(self) -> sparse.csr_array:
        """Return the matrix as a SciPy sparse array."""
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

    @property
    def moves(self) -> bool:  # type: ignore[override]
        """True for a broadcast."""
        return type(self.c) is int

    @property
    def is_square(self) -> bool:
        """True if nothing is broadcast, so that the matrix is square."""
        return self.in_shape == self.out_shape

    @property
    def is_identity(self) -> bool:
        """True if tangents pass unchanged."""
        return type(self.c) is int and self.c == 1 and self.is_square

    @property
    def T(self) -> LocalJacobian:
        return self if self.is_square else Transposed(self)

    @property
    def entries(self) -> int:
        return 0 if type(self.c) is int else int(np.size(self.c))

    def counts(self) -> Counts:
        if type(self.c) is int and self.c in (1, -1):
            return {}
        return {"multiplications": math.prod(self.out_shape)}

    def formula(self, operand: str) -> str:
        return f"{operand} * c"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        if not fixed:
            return pattern.spread(self.out_shape)
        if np.ndim(self.c) == 0 and self.c == 0:
            return nothing(self.out_shape, pattern.width)
        return pattern.spread(self.out_shape).kept(np.not_equal(self.c, 0))

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        columns = np.broadcast_to(np.arange(math.prod(self.in_shape)).reshape(self.in_shape), self.out_shape)
        values = np.broadcast_to(self.c, self.out_shape).astype(float)
        size = math.prod(self.out_shape)
        return sparse.csr_array(
            (values.ravel(), (np.arange(size), columns.ravel())), shape=(size, math.prod(self.in_shape))
        )


class Zero(LocalJacobian):
    """``y_dot = 0``: no path leads from `x` to `y`."""

    __slots__ = ()
    moves = True

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape, self.out_shape = in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return np.zeros(t.shape[:batch] + self.out_shape, t.dtype)[()]

    def pull(self, g: Array, batch: int = 0) -> Array:
        return np.zeros(g.shape[:batch] + self.in_shape, g.dtype)[()]

    @property
    def T(self) -> LocalJacobian:
        return Zero(self.out_shape, self.in_shape)

    def formula(self, operand: str) -> str:
        return f"0 {operand}"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return nothing(self.out_shape, pattern.width)


class Select(LocalJacobian):
    """``y_dot = x_dot[index]``: rows of the identity."""

    __slots__ = ("index",)
    moves = True

    def __init__(self, index: Any, in_shape: Shape, out_shape: Shape | None = None) -> None:
        self.index, self.in_shape = index, in_shape
        self.out_shape = shape_of_selection(index, in_shape) if out_shape is None else out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return take(t, self.index, self.in_shape, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return assemble([g], [self.index], self.in_shape, batch=batch)

    def formula(self, operand: str) -> str:
        return f"{operand} put back at its index"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        unknown = unknown_axes(self.index, self.in_shape)
        if not unknown:
            return self._moved(pattern)
        axes = tuple(axis - len(self.in_shape) for axis in unknown)
        rest = tuple(1 if axis in unknown else size for axis, size in enumerate(self.in_shape))
        return Select(at_first(self.index), rest, self.out_shape)._moved(pattern.summed(axes, rest))

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        columns = flat_positions(self.index, self.in_shape).ravel()
        shape = (columns.size, math.prod(self.in_shape))
        return sparse.csr_array((np.ones(columns.size), (np.arange(columns.size), columns)), shape=shape)


class Place(LocalJacobian):
    """``y_dot[index] = x_dot``, zero elsewhere: the value in an assignment to part of an array, with broadcasting."""

    __slots__ = ("index",)
    moves = True

    def __init__(self, index: Any, in_shape: Shape, out_shape: Shape) -> None:
        self.index, self.in_shape, self.out_shape = index, in_shape, out_shape

    @property
    def region(self) -> Shape:
        """The shape of the selection."""
        return shape_of_selection(self.index, self.out_shape)

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

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        if unknown_axes(self.index, self.out_shape):
            return pattern.mixed(self.out_shape)
        return self._moved(pattern)

    def _where_it_lasts(self, part: Array) -> Array:
        """Zero the elements that the same assignment overwrites: of repeated positions the last one remains."""
        if is_basic(self.index):
            return part
        flat = flat_positions(index_values(self.index), self.out_shape)
        last = np.zeros(math.prod(self.out_shape), np.intp)
        last[flat.ravel()] = np.arange(flat.size)
        lasts = last[flat.ravel()] == np.arange(flat.size)
        return part if lasts.all() else np.where(lasts.reshape(flat.shape), part, 0.0)


class Erase(LocalJacobian):
    """``y_dot = x_dot`` with zeros at `index`: the array in an assignment to part of it."""

    __slots__ = ("index",)
    moves = True

    def __init__(self, index: Any, in_shape: Shape) -> None:
        self.index, self.in_shape, self.out_shape = index, in_shape, in_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        if is_basic(self.index) or traced_item(self.index) is not None:
            return erase(t, self.index, batch)
        left = np.ones(self.in_shape, np.bool_)
        left[self.index] = False
        return np.where(left, t, 0.0)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.push(g, batch)

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        if unknown_axes(self.index, self.out_shape):
            return pattern
        return self._moved(pattern)

    def erase(self, g: np.ndarray[Any, Any], batch: int = 0) -> np.ndarray[Any, Any]:
        """Pull an adjoint in place; no other code may refer to it."""
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

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        spread = pattern.spread(self.out_shape)
        return spread.kept(np.not_equal(self.a, 0) | np.not_equal(self.b, 0)) if fixed else spread


class Sum(LocalJacobian):
    """``y_dot = x_dot.sum(axis)``: rows of ones.  Axes count from the end (negative)."""

    __slots__ = ("axis", "keepdims")
    moves = True

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

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return pattern.summed(self.axis, self.out_shape)


class Reshape(LocalJacobian):
    """``y_dot = x_dot.reshape(out_shape)``: the identity, folded differently."""

    __slots__ = ()
    moves = True

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape, self.out_shape = in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return t.reshape(t.shape[:batch] + self.out_shape)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return g.reshape(g.shape[:batch] + self.in_shape)

    @property
    def T(self) -> LocalJacobian:
        return Reshape(self.out_shape, self.in_shape)

    def formula(self, operand: str) -> str:
        return f"{operand} reshaped to {self.in_shape}"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return pattern.reshaped(self.out_shape)


class Permute(LocalJacobian):
    """``y_dot = x_dot.transpose(axes)``: a permutation of axes."""

    __slots__ = ("axes",)
    moves = True

    def __init__(self, in_shape: Shape, axes: Shape, out_shape: Shape | None = None) -> None:
        self.in_shape, self.axes = in_shape, axes
        self.out_shape = tuple(in_shape[a] for a in axes) if out_shape is None else out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return np.transpose(t, (*range(batch), *(a + batch for a in self.axes)))

    def pull(self, g: Array, batch: int = 0) -> Array:
        if self.axes == (1, 0) and not batch:
            return g.T
        return np.transpose(g, (*range(batch), *(a + batch for a in self._inverse())))

    def _inverse(self) -> Shape:
        return tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))

    @property
    def T(self) -> LocalJacobian:
        return Permute(self.out_shape, self._inverse(), self.in_shape)

    def formula(self, operand: str) -> str:
        return f"{operand}^T"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return self._moved(pattern)


def _product_with_stack(A: Array, stack: Array) -> Array:
    """Return ``A @ stack``: where A is large and the matrices of the stack are thin, as one product: A is read once.

    >>> _product_with_stack(np.ones((2, 3)), np.ones((5, 3, 1))).shape
    (5, 2, 1)
    """
    if A.ndim != 2 or stack.ndim < 3 or A.size <= LARGE or not 0 < stack.shape[-1] <= THIN:
        return np.matmul(A, stack)
    rows = np.moveaxis(stack, -2, 0)
    return np.moveaxis(np.matmul(A, rows.reshape(len(rows), -1)).reshape(len(A), *rows.shape[1:]), 0, -2)


class LeftProduct(LocalJacobian):
    """``y_dot = A @ x_dot``, each a vector, a matrix or a stack of matrices (a stack never with a vector)."""

    __slots__ = ("A",)

    def __init__(self, A: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.A, self.in_shape, self.out_shape = A, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        if len(self.in_shape) == 1:
            return np.matmul(t, _transpose(self.A))
        return _product_with_stack(self.A, _spread(t, self.in_shape, self.out_shape, batch))

    def pull(self, g: Array, batch: int = 0) -> Array:
        A = self.A
        if len(self.in_shape) == 1:
            return g[..., None] * A if A.ndim == 1 else np.matmul(g, A)
        if A.ndim == 1:
            return A[:, None] * g[..., None, :]
        if not batch and len(self.in_shape) == 2 < A.ndim:
            return np.matmul(_in_rows(A).T, _in_rows(g))  # the stack is summed over
        return pull_diagonal(1, _product_with_stack(_transpose(A), g), self.in_shape, batch)

    @property
    def T(self) -> LocalJacobian:
        return LeftProduct(self.A.T, self.out_shape, self.in_shape) if self.A.ndim == 2 else Transposed(self)

    @property
    def entries(self) -> int:
        return int(self.A.size)

    def counts(self) -> Counts:
        return product_counts(self.out_shape, self.A.shape[-1])

    def formula(self, operand: str) -> str:
        return f"A^T {operand}"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        A = self.A if self.A.ndim > 1 else self.A[None, :]
        out = self.out_shape if self.A.ndim > 1 else _with_axis(self.out_shape, len(self.in_shape) - 1)
        if len(self.in_shape) == 1:
            pattern, out = pattern.reshaped((*self.in_shape, 1)), (*out, 1)
        return _product_with(A, pattern, out, fixed).reshaped(self.out_shape)


class RightProduct(LocalJacobian):
    """``y_dot = x_dot @ B``, each a vector, a matrix or a stack of matrices (a stack never with a vector)."""

    __slots__ = ("B",)

    def __init__(self, B: Array, in_shape: Shape, out_shape: Shape) -> None:
        self.B, self.in_shape, self.out_shape = B, in_shape, out_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        t, B = _spread(t, self.in_shape, self.out_shape, batch), self.B
        if B.ndim != 2 or t.ndim < 3 or B.size <= LARGE or not 0 < t.shape[-2] <= THIN:
            return np.matmul(t, B)
        return np.matmul(_in_rows(t), B).reshape(*t.shape[:-1], B.shape[1])  # as one product, which reads B once

    def pull(self, g: Array, batch: int = 0) -> Array:
        if self.B.ndim == 1:
            return g[..., None] * self.B
        if len(self.in_shape) == 1:
            return np.matmul(g, _transpose(self.B))
        if self.B.ndim == 2 < g.ndim and (type(g) is not np.ndarray or g.flags.c_contiguous):  # one product, no stack
            flat = np.matmul(_in_rows(g), self.B.T)
            return pull_diagonal(1, flat.reshape(g.shape[:-1] + flat.shape[-1:]), self.in_shape, batch)
        return pull_diagonal(1, np.matmul(g, _transpose(self.B)), self.in_shape, batch)

    @property
    def T(self) -> LocalJacobian:
        return RightProduct(self.B.T, self.out_shape, self.in_shape) if self.B.ndim == 2 else Transposed(self)

    @property
    def entries(self) -> int:
        return int(self.B.size)

    def counts(self) -> Counts:
        return product_counts(self.out_shape, self.B.shape[0 if self.B.ndim == 1 else -2])

    def formula(self, operand: str) -> str:
        return f"{operand} B^T"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        B = self.B if self.B.ndim > 1 else self.B[:, None]
        out = self.out_shape if self.B.ndim > 1 else (*self.out_shape, 1)
        if len(self.in_shape) == 1:
            pattern, out = pattern.reshaped((1, *self.in_shape)), _with_axis(out, 1)
        turned = _turned(pattern)
        return _turned(_product_with(_transpose(B), turned, _turned_shape(out), fixed)).reshaped(self.out_shape)


class Dense(LocalJacobian):
    """A stored matrix, ``prod(out_shape)`` rows by ``prod(in_shape)`` columns."""

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

    @property
    def T(self) -> LocalJacobian:
        return Dense(self.matrix.T, self.out_shape, self.in_shape)

    @property
    def entries(self) -> int:
        return int(self.matrix.size)

    def counts(self) -> Counts:
        return product_counts((math.prod(self.out_shape),), math.prod(self.in_shape))

    def dense(self) -> np.ndarray[Any, Any]:
        return cast("np.ndarray[Any, Any]", self.matrix)

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        if not fixed or np.all(self.matrix):
            return pattern.mixed(self.out_shape)
        return pattern.through(matrix_of_nonzeros(self.matrix), self.out_shape)


class Map(LocalJacobian):
    """A linear map given by its two actions, each a function of a block of arrays (leading axes free).

    If it `mixes` elements along some axes alone, these are given, of the operand and of the result, counted from the
    end; the others are those of a stack.  `entries` returns its pattern, where that is known without pushing, and
    `structure` is a map that has it.
    """

    __slots__ = ("_counts", "_entries", "_pull", "_push", "mixes", "moves", "name", "structure", "support")

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        push: Callable[[Array], Array],
        pull: Callable[[Array], Array],
        counts: Counts | Callable[[], Counts] | None = None,
        name: str = "J",
        moves: bool = False,
        support: Array | None = None,
        mixes: tuple[Sequence[int], Sequence[int]] | None = None,
        entries: Callable[[], sparse.csr_array] | None = None,
        structure: LocalJacobian | None = None,
    ) -> None:
        self.in_shape, self.out_shape, self.moves, self.support = in_shape, out_shape, moves, support
        self.mixes, self.structure = mixes, structure
        self._push, self._pull, self._counts, self.name = push, pull, counts or {}, name
        self._entries = entries

    def push(self, t: Array, batch: int = 0) -> Array:
        return self._push(t)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self._pull(g)

    def counts(self) -> Counts:
        return self._counts() if callable(self._counts) else self._counts

    def formula(self, operand: str) -> str:
        return f"{self.name}^T({operand})"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        if self.structure is not None:
            return self.structure.carry(pattern)
        if not fixed:
            return self._mixed(pattern)
        if self.moves and is_selection(self):
            return pattern.moved(lambda block: move_exactly(self, block), self.out_shape)
        matrix = probed(self) if self._entries is None else self._entries()
        if matrix is None:
            return self._mixed(pattern)
        return pattern.through(matrix, self.out_shape)

    def _mixed(self, pattern: IndexDomains) -> IndexDomains:
        """Return what is known where the numbers are not: along which axes elements mix, and where results are zero."""
        mixed = pattern.mixed(self.out_shape, self.mixes)
        return mixed if self.support is None else mixed.kept(np.broadcast_to(self.support, self.out_shape))


class Transposed(LocalJacobian):
    """The transpose of a map: push and pull change places."""

    __slots__ = ("of",)

    def __init__(self, of: LocalJacobian) -> None:
        self.of, self.in_shape, self.out_shape = of, of.out_shape, of.in_shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return self.of.pull(t, batch)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return self.of.push(g, batch)

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return self.of.moves

    def counts(self) -> Counts:
        return self.of.counts()

    @property
    def T(self) -> LocalJacobian:
        return self.of

    @property
    def entries(self) -> int:
        return self.of.entries

    def formula(self, operand: str) -> str:
        return f"{operand} taken at its index" if isinstance(self.of, Select) else f"{self!r}({operand})"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        of = self.of
        if isinstance(of, Select):
            if unknown_axes(of.index, of.in_shape):
                return pattern.mixed(self.out_shape)
            if is_basic(of.index) or not count_overlaps([of.index], of.in_shape):
                return self._moved(pattern)
        from scipy import sparse

        return pattern.through(sparse.csr_array(of.pattern(fixed).T), self.out_shape)


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

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return self.outer.moves and self.inner.moves

    @property
    def T(self) -> LocalJacobian:
        return Composed(self.inner.T, self.outer.T)

    @property
    def entries(self) -> int:
        return self.outer.entries + self.inner.entries

    def counts(self) -> Counts:
        return sum_counts(self.outer.counts(), self.inner.counts())

    def formula(self, operand: str) -> str:
        return self.inner.formula(self.outer.formula(operand))

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return self.outer.carry(self.inner.carry(pattern, fixed), fixed)

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

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return self.left.moves and self.right.moves

    @property
    def T(self) -> LocalJacobian:
        return Added(self.left.T, self.right.T)

    @property
    def entries(self) -> int:
        return self.left.entries + self.right.entries

    def counts(self) -> Counts:
        extra = {"additions": math.prod(self.out_shape)}
        return sum_counts(sum_counts(self.left.counts(), self.right.counts()), extra)

    def formula(self, operand: str) -> str:
        return f"{self.left.formula(operand)} + {self.right.formula(operand)}"

    def carry(self, pattern: IndexDomains, fixed: bool = True) -> IndexDomains:
        return self.left.carry(pattern, fixed) | self.right.carry(pattern, fixed)

    def sparse(self) -> sparse.csr_array:
        from scipy import sparse

        return sparse.csr_array(self.left.sparse() + self.right.sparse())


# ---- Products and sums; `products` fills the tables ----

Rule = Callable[[Any, Any], LocalJacobian | None]
Table = dict[tuple[type[LocalJacobian], type[LocalJacobian]], Rule]
PRODUCTS: Table = {}
"""The product for each pair of structures, outer and inner; it returns None if the product has no structure."""
SUMS: Table = {}
"""The sum for each pair of structures; it returns None if the sum has no structure."""


def compose(outer: LocalJacobian, inner: LocalJacobian) -> LocalJacobian:
    """Multiply two local Jacobians; neighboring factors are merged as long as their product has a structure.

    >>> compose(Sum((2, 3), (-1,), False), Sum((4, 2, 3), (-3,), False))
    Sum((4, 2, 3) -> (2,))
    """
    factors = _merge(_factors(outer), _factors(inner))
    product = factors.pop()
    while factors:
        product = Composed(factors.pop(), product)
    return product


def add(left: LocalJacobian, right: LocalJacobian) -> LocalJacobian:
    """Add the local Jacobians of two parallel edges; terms are merged if their sum has a structure."""
    if type(right) is Added:
        return add(add(left, right.left), right.right)
    total = _look_up(SUMS, left, right)
    if total is None and type(left) is Added:
        total = _look_up(SUMS, left.right, right)
        if total is not None:
            return add(left.left, total)
        total = _look_up(SUMS, left.left, right)
        if total is not None:
            return add(total, left.right)
    return Added(left, right) if total is None else total


def _look_up(table: Table, one: LocalJacobian, other: LocalJacobian) -> LocalJacobian | None:
    """Look up a pair of structures; entries for any structure at all stand under `LocalJacobian`."""
    for pair in ((type(one), type(other)), (type(one), LocalJacobian), (LocalJacobian, type(other))):
        rule = table.get(pair)
        result = None if rule is None else rule(one, other)
        if result is not None:
            return result
    return None


def _factors(J: LocalJacobian) -> list[LocalJacobian]:
    return [*_factors(J.outer), *_factors(J.inner)] if type(J) is Composed else [J]


def _merge(outer: list[LocalJacobian], inner: list[LocalJacobian]) -> list[LocalJacobian]:
    """Join two lists of factors; neighbors with a product are merged, and then again with their neighbors."""
    product = _look_up(PRODUCTS, outer[-1], inner[0]) if outer and inner else None
    if product is None:
        return [*outer, *inner]
    return _merge(_merge(outer[:-1], _factors(product)), inner[1:])


# ---- Counts and shapes of products of matrices ----


def product_counts(out_shape: Shape, length: int) -> Counts:
    """Count a product of matrices with `out_shape` sums of `length` products each."""
    size = math.prod(out_shape)
    return {"multiplications": size * length, "additions": size * max(length - 1, 0)}


def sum_counts(a: Counts, b: Counts) -> Counts:
    """Add two tables of counts."""
    return {key: a.get(key, 0) + b.get(key, 0) for key in (*a, *(k for k in b if k not in a))}


def _spread(t: Array, in_shape: Shape, out_shape: Shape, batch: int) -> Array:
    """Insert axes for the stack between those of the block and those of the matrix."""
    missing = len(out_shape) - len(in_shape)
    if not batch or missing <= 0:
        return t
    return t.reshape(t.shape[:batch] + (1,) * missing + in_shape)


def _in_rows(a: Array) -> Array:
    """Return the rows of a stack of matrices as one matrix."""
    return a.reshape((math.prod(a.shape[:-1]), a.shape[-1]))


def _transpose(a: Array) -> Array:
    return a if a.ndim == 1 else a.T if a.ndim == 2 else np.swapaxes(a, -1, -2)


# ---- Patterns ----


def _with_axis(shape: Shape, end: int) -> Shape:
    """Return a shape with an axis of one element inserted, so many axes before the end."""
    k = len(shape) - end
    return (*shape[:k], 1, *shape[k:])


def _turned_shape(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


def _turned(pattern: IndexDomains) -> IndexDomains:
    """Return the pattern of the matrices transposed."""
    return pattern.moved(lambda block: np.swapaxes(block, -1, -2), _turned_shape(pattern.shape))


def _product_with(A: Array, pattern: IndexDomains, out_shape: Shape, fixed: bool) -> IndexDomains:
    """Return the pattern of the product of a matrix, or a stack of them, with matrices that have a pattern."""
    if not fixed or np.all(A):
        rest = (*pattern.shape[:-2], 1, pattern.shape[-1])
        return pattern.summed((-2,), rest).spread(out_shape)
    in_shape = (*out_shape[:-2], *pattern.shape[-2:])
    sources = np.broadcast_to(np.arange(pattern.size).reshape(pattern.shape), in_shape)
    targets = np.arange(math.prod(out_shape)).reshape(out_shape)
    entries = np.nonzero(np.broadcast_to(A, (*out_shape[:-1], in_shape[-2])))
    stack, row, column = entries[:-2], entries[-2], entries[-1]
    rows, columns = targets[(*stack, row)].reshape(-1), sources[(*stack, column)].reshape(-1)
    return pattern.through(matrix_of_pairs(rows, columns, (targets.size, pattern.size)), out_shape)

"""``scipy.spatial.transform``: rotations, as SciPy's own objects that hold traced quaternions.

At the identity rotation vectors are divided by their length: quaternions of them are power series in its square
instead (Stumpff's functions), so that derivatives of every order are right there.  SciPy before 1.17 has compiled
rotations, which cannot be caught.

>>> import numpy as np, wengert as wg
>>> from scipy.spatial.transform import Rotation
>>> turned = lambda v: Rotation.from_rotvec(v).apply([1.0, 0.0, 0.0])
>>> wg.jacobian(turned)(np.zeros(3))
array([[ 0.,  0.,  0.],
       [ 0.,  0.,  1.],
       [ 0., -1.,  0.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import along, as_operand, as_reals, is_traced, pick
from wengert.primitives.table import HOLDERS, LATE, calls, define
from wengert.program import Primitive

Array = Any


# ---- The rows: what is smooth at the identity ----


def _stumpff(s: Array, order: int) -> Array:
    """Add up the series for s < 10; beyond, go up from the cosine and the sine."""
    s = np.asarray(s, dtype=np.float64)
    near = np.minimum(s, 10.0)
    term = np.full(s.shape, 1.0 / math.factorial(order))
    total = term.copy()
    for j in range(1, 24):
        term = -term * near / ((2 * j + order - 1) * (2 * j + order))
        total += term
    far = np.maximum(s, 10.0)
    root = np.sqrt(far)
    beyond = np.cos(root) if order % 2 == 0 else np.sin(root) / root
    for k in range(order % 2, order, 2):
        beyond = (1.0 / math.factorial(k) - beyond) / far
    return np.where(s < 10.0, total, beyond)[()]


stumpff: Primitive = define(
    "stumpff",
    _stumpff,
    lambda _y, s, order: 0.5 * (order * stumpff(s, order=order + 2) - stumpff(s, order=order + 1)),
    source=lambda args, params: f"wengert.primitives.scipy.transform.stumpff({args[0]}, order={params['order']})",
    counts="calls",
)


def _arctan_moment(t: Array, order: int) -> Array:
    """The integral of u^2n / (1 + t u^2)^(n+1) over [0, 1]: arctan(sqrt(t)) / sqrt(t) for n = 0; for 0 <= t <= 1."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    square = ((nodes + 1) / 2) ** 2
    t = np.asarray(t, dtype=np.float64)[..., None]
    return np.asarray((square**order / (1 + t * square) ** (order + 1)) @ (weights / 2))[()]


arctan_moment: Primitive = define(
    "arctan_moment",
    _arctan_moment,
    lambda _y, t, order: -(order + 1) * arctan_moment(t, order=order + 1),
    source=lambda args, params: f"wengert.primitives.scipy.transform.arctan_moment({args[0]}, order={params['order']})",
    counts="calls",
    domain=((0.0, 1.0),),
)


# ---- Quaternions (x, y, z, w), along the last axis ----


def _product(p: Array, q: Array) -> Array:
    v = np.cross(p[..., :3], q[..., :3]) + p[..., 3:] * q[..., :3] + q[..., 3:] * p[..., :3]
    w = p[..., 3:] * q[..., 3:] - np.sum(p[..., :3] * q[..., :3], axis=-1)[..., None]
    return np.concatenate([v, w], axis=-1)


def _unit(q: Array) -> Array:
    if np.any(np.all(q == 0, axis=-1)):
        raise ValueError("Found zero norm quaternions in `quat`.")
    return q / np.linalg.norm(q, axis=-1)[..., None]


def _inverse(q: Array) -> Array:
    return q * np.array([-1.0, -1.0, -1.0, 1.0])


def _canonical(q: Array) -> Array:
    x, y, z, w = (q[..., k] for k in range(4))
    negative = (w < 0) | ((w == 0) & ((x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0))))))
    return np.where(negative[..., None], -q, q)


def _of_rotvec(v: Array) -> Array:
    s = np.sum(v * v, axis=-1)[..., None] / 4
    return np.concatenate([0.5 * stumpff(s, order=1) * v, stumpff(s, order=0)], axis=-1)


def _to_rotvec(q: Array) -> Array:
    """Return 2 v atan2(|v|, w) / |v|, by the side of the quotient that is below 1."""
    q = _canonical(q)
    v, w = q[..., :3], q[..., 3:]
    square = np.sum(v * v, axis=-1)[..., None]
    small = square <= w * w
    w_safe = np.where(small, w, 1.0)
    inner = arctan_moment(np.where(small, square, 0.0) / w_safe**2, order=0) / w_safe
    n = np.sqrt(np.where(small, 1.0, square))
    outer = (0.5 * math.pi - np.arctan(np.where(small, 0.0, w) / n)) / n
    return 2.0 * np.where(small, inner, outer) * v


def _to_matrix(q: Array) -> Array:
    x, y, z, w = (q[..., k] for k in range(4))
    entries = [
        x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), -x * x + y * y - z * z + w * w, 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), -x * x - y * y + z * z + w * w,
    ]  # fmt: skip
    matrix = np.stack(entries, axis=-1)
    return np.reshape(matrix, (*matrix.shape[:-1], 3, 3))


def _of_matrix(m: Array, assume_valid: bool) -> Array:
    """Return the quaternions of matrices, those that are not orthogonal being replaced by the nearest that are."""
    if not assume_valid:
        if np.any(np.linalg.det(m) <= 0):
            raise ValueError("Non-positive determinant (left-handed or null coordinate frame) in rotation matrix.")
        product = m @ np.swapaxes(m, -1, -2)
        if not np.all(np.abs(product - np.eye(3)) <= 1e-12):
            U, _, Vh = np.linalg.svd(m)
            m = U @ Vh
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    choice = np.argmax(np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2], trace], axis=-1), axis=-1)[..., None]
    result: Array = np.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1], 1 + trace], axis=-1
    )
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        parts: list[Array] = [None] * 4
        parts[i] = 1 - trace + 2 * m[..., i, i]
        parts[j] = m[..., j, i] + m[..., i, j]
        parts[k] = m[..., k, i] + m[..., i, k]
        parts[3] = m[..., k, j] - m[..., j, k]
        result = np.where(choice == i, np.stack(parts, axis=-1), result)
    return _unit(result)


def _of_euler(seq: str, angles: Array) -> Array:
    """Multiply rotations about axes; ``angles[..., k]`` is about the k-th."""
    result: Array = None
    for k, axis in enumerate(seq):
        half = angles[..., k] / 2
        parts = [0.0 * half] * 3 + [np.cos(half)]
        parts["xyz".index(axis.lower())] = np.sin(half)
        q = np.stack(parts, axis=-1)
        result = q if result is None else _product(result, q) if axis.isupper() else _product(q, result)
    return result


def _to_euler(q: Array, seq: str) -> Array:
    """Bernardes & Viollet (2022), "Quaternion to Euler angles conversion", as SciPy does."""
    if len(seq) != 3 or not (seq.islower() or seq.isupper()) or any(a not in "xyz" for a in seq.lower()):
        raise ValueError(f"Expected 3 axes from ['x', 'y', 'z'] or ['X', 'Y', 'Z'], got {seq}.")
    extrinsic = seq.islower()
    i, j, k = ("xyz".index(axis) for axis in (seq if extrinsic else seq.lower()[::-1]))
    symmetric = i == k
    k = 3 - i - j if symmetric else k
    sign = (i - j) * (j - k) * (k - i) // 2
    x, y, z, w = q[..., i], q[..., j], q[..., k] * sign, q[..., 3]
    a, b, c, d = (w, x, y, z) if symmetric else (w - y, x + z, y + w, z - x)
    total, difference = np.arctan2(b, a), np.arctan2(d, c)
    middle = 2 * np.arctan2(np.hypot(c, d), np.hypot(a, b))
    at_start, at_end = np.abs(middle) <= 1e-7, np.abs(middle - math.pi) <= 1e-7
    locked = at_start | at_end
    first = np.where(locked, np.where(at_start, 2 * total, -2 * difference), total - difference)
    third = np.where(locked, 0.0, total + difference)
    if not extrinsic:
        first = np.where(locked, 0.0, total - difference)
        third = np.where(locked, np.where(at_start, 2 * total, 2 * difference), total + difference)
    if not symmetric:
        third, middle = third * sign, middle - math.pi / 2
    angles = np.stack([first, middle, third] if extrinsic else [third, middle, first], axis=-1)
    return (angles + math.pi) % (2 * math.pi) - math.pi


# ---- SciPy's objects ----


def _kind() -> Any:
    """Return SciPy's class."""
    from scipy.spatial.transform import Rotation

    return Rotation


def _rotation(q: Array, single: bool) -> Any:
    kind = _kind()
    made, plain = object.__new__(kind), kind.identity()
    made._quat = q[None] if single and q.ndim == 1 else q
    made._single, made._xp, made._backend = single, plain._xp, plain._backend
    return made


def _out(rotation: Any, values: Array) -> Array:
    return values[0] if rotation._single else values


def _init(self: Any, quat: Any, normalize: bool = True, copy: bool = True, scalar_first: bool = False) -> None:
    q = as_reals(quat)
    if q.shape[-1] != 4:
        raise ValueError(f"Expected `quat` to have shape (..., 4), got {q.shape}.")
    q = np.roll(q, -1, axis=-1) if scalar_first else q
    made = _rotation(_unit(q) if normalize else q, q.ndim == 1)
    self._quat, self._single, self._xp, self._backend = made._quat, made._single, made._xp, made._backend


def _from_quat(quat: Any, *, scalar_first: bool = False) -> Any:
    made = object.__new__(_kind())
    _init(made, quat, scalar_first=scalar_first)
    return made


def _from_rotvec(rotvec: Any, degrees: bool = False) -> Any:
    v = as_reals(rotvec)
    if v.shape[-1] != 3:
        raise ValueError(f"Expected `rot_vec` to have shape (..., 3), got {v.shape}")
    return _rotation(_of_rotvec(v * (math.pi / 180) if degrees else v), v.ndim == 1)


def _from_matrix(matrix: Any, *, assume_valid: bool = False) -> Any:
    m = as_reals(matrix)
    if m.shape[-2:] != (3, 3):
        raise ValueError(f"Expected `matrix` to have shape (..., 3, 3), got {m.shape}")
    return _rotation(_of_matrix(m, assume_valid), m.ndim == 2)


def _from_euler(seq: str, angles: Any, degrees: bool = False) -> Any:
    angles = as_reals(angles)
    like = _kind().from_euler(seq, np.zeros(angles.shape))  # which raises what SciPy does, and has the shape
    q = _of_euler(seq, np.reshape(angles * (math.pi / 180) if degrees else angles, (-1, len(seq))))
    return _rotation(np.reshape(q, like._quat.shape), like._single)


def _from_mrp(mrp: Any) -> Any:
    p = as_reals(mrp)
    square = np.sum(p * p, axis=-1)[..., None]
    return _rotation(np.concatenate([2 * p, 1 - square], axis=-1) / (1 + square), p.ndim == 1)


def _as_quat(self: Any, canonical: bool = False, *, scalar_first: bool = False) -> Array:
    q = _canonical(self._quat) if canonical else self._quat
    return _out(self, np.roll(q, 1, axis=-1) if scalar_first else q)


def _as_matrix(self: Any) -> Array:
    return _out(self, _to_matrix(self._quat))


def _as_rotvec(self: Any, degrees: bool = False) -> Array:
    v = _to_rotvec(self._quat)
    return _out(self, v * (180 / math.pi) if degrees else v)


def _as_euler(self: Any, seq: str, degrees: bool = False, *, suppress_warnings: bool = False) -> Array:
    angles = _to_euler(self._quat, seq)
    return _out(self, angles * (180 / math.pi) if degrees else angles)


def _as_mrp(self: Any) -> Array:
    sign = np.where(self._quat[..., 3:] < 0, -1.0, 1.0)
    return _out(self, sign * self._quat[..., :3] / (1 + sign * self._quat[..., 3:]))


def _apply(self: Any, vectors: Any, inverse: bool = False) -> Array:
    v = as_reals(vectors)
    if v.shape[-1] != 3:
        raise ValueError(f"Expected input of shape (..., 3), got {v.shape}.")
    m = _to_matrix(_inverse(self._quat) if inverse else self._quat)
    turned = np.sum(m * (v if v.ndim > 1 else v[None])[..., None, :], axis=-1)
    return turned[0] if self._single and v.ndim == 1 else turned


def _multiplied(self: Any, other: Any) -> Any:
    if not isinstance(other, type(self)):
        return NotImplemented
    return _rotation(_unit(_product(self._quat, other._quat)), self._single and other._single)


def _power(self: Any, n: Any, modulus: None = None) -> Any:
    if modulus is not None:
        raise NotImplementedError("modulus not supported")
    if not is_traced(n) and n in (1, -1):
        return _rotation(self._quat if n == 1 else _inverse(self._quat), self._single)
    return _rotation(_of_rotvec(n * _to_rotvec(self._quat)), self._single)


def _inv(self: Any) -> Any:
    return _rotation(_inverse(self._quat), self._single)


def _magnitude(self: Any) -> Array:
    return _out(self, 2 * np.arctan2(np.linalg.norm(self._quat[..., :3], axis=-1), np.abs(self._quat[..., 3])))


def _mean(self: Any, weights: Any = None, axis: Any = None) -> Any:
    if axis is not None:
        raise UnsupportedError("Rotation.mean with axis= has no rule; leave it out.")
    q = np.reshape(self._quat, (-1, 4))
    w = np.ones(q.shape[0]) if weights is None else np.reshape(as_operand(weights), (-1,))
    return _rotation(np.linalg.eigh(np.transpose(w[:, None] * q) @ q)[1][:, -1], True)


def _concatenate(rotations: Any) -> Any:
    listed = [rotations] if isinstance(rotations, _kind()) else list(rotations)
    return _rotation(np.concatenate([r._quat for r in listed]), False)


def _getitem(self: Any, indexer: Any) -> Any:
    if self._single:
        raise TypeError("Single rotation is not subscriptable.")
    q = pick(self._quat, (indexer,)) if not isinstance(indexer, tuple) else pick(self._quat, indexer)
    return _rotation(q, q.ndim == 1)


def _init_slerp(self: Any, times: Any, rotations: Any) -> None:
    times = as_reals(times)
    if rotations._single or rotations._quat.shape[0] <= 1:
        raise ValueError("`rotations` must be a sequence of at least 2 rotations.")
    if times.shape != rotations._quat.shape[:1]:
        raise ValueError("Expected number of rotations to be equal to number of timestamps given.")
    self.times, self.timedelta = times, times[1:] - times[:-1]
    if np.any(self.timedelta <= 0):
        raise ValueError("Times must be in strictly increasing order.")
    self.rotations = _rotation(rotations._quat[:-1], False)
    self.rotvecs = _to_rotvec(_product(_inverse(rotations._quat[:-1]), rotations._quat[1:]))


def _call_slerp(self: Any, times: Any) -> Any:
    at = as_reals(times)
    flat = np.reshape(at, (-1,))
    if np.any((flat < self.times[0]) | (flat > self.times[-1])):
        raise ValueError("Interpolation times must be within the range of the given ones, both inclusive.")
    i = np.maximum(np.searchsorted(self.times, flat) - 1, 0)
    share = (flat - along(self.times, 0, i)) / along(self.timedelta, 0, i)
    q = _product(along(self.rotations._quat, 0, i), _of_rotvec(share[:, None] * along(self.rotvecs, 0, i)))
    return _rotation(_unit(q[0] if at.ndim == 0 else q), at.ndim == 0)


METHODS: dict[str, Callable[..., Any]] = {
    "Rotation.__init__": _init,
    "Rotation.from_quat": _from_quat,
    "Rotation.from_rotvec": _from_rotvec,
    "Rotation.from_matrix": _from_matrix,
    "Rotation.from_euler": _from_euler,
    "Rotation.from_mrp": _from_mrp,
    "Rotation.as_quat": _as_quat,
    "Rotation.as_matrix": _as_matrix,
    "Rotation.as_rotvec": _as_rotvec,
    "Rotation.as_euler": _as_euler,
    "Rotation.as_mrp": _as_mrp,
    "Rotation.apply": _apply,
    "Rotation.__mul__": _multiplied,
    "Rotation.__pow__": _power,
    "Rotation.__getitem__": _getitem,
    "Rotation.inv": _inv,
    "Rotation.magnitude": _magnitude,
    "Rotation.mean": _mean,
    "Rotation.concatenate": _concatenate,
    "Slerp.__init__": _init_slerp,
    "Slerp.__call__": _call_slerp,
}
"""What stands for the methods of ``scipy.spatial.transform``, by their names."""


def _enter() -> None:
    from scipy.spatial import transform

    if not isinstance(transform.Rotation.apply, FunctionType):
        return  # compiled, before SciPy 1.17
    for path, written in METHODS.items():
        owner, name = path.split(".")
        calls(getattr(getattr(transform, owner), name), catch=transform)(written)
    HOLDERS[transform.Rotation] = ("_quat",)
    HOLDERS[transform.Slerp] = ("times", "rotvecs")


LATE["scipy.spatial.transform"] = _enter

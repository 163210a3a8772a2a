"""``scipy.spatial``: distances by every metric, and rotations, against SciPy's values and differences."""

from __future__ import annotations

from types import FunctionType

import numpy as np
import pytest
import scipy.spatial.distance as sd
import truth
from agreement import assert_caught, assert_close
from scipy.spatial import distance_matrix, transform
from scipy.spatial.transform import Rotation, Slerp

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.primitives.scipy import distance
from wengert.primitives.scipy import transform as rotations

rng = np.random.default_rng(8)
APART = 0.2 + 0.05 * rng.permutation(32) + rng.uniform(0.0, 0.02, 32)  # no two are close to each other: no kinks
U, V, ROWS, OTHERS = APART[:4], APART[4:8], APART[8:26].reshape(6, 3), APART[26:].reshape(2, 3)
WEIGHTS = np.array([0.5, 1.2, 0.8])
INVERSE = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]])

CASES = {}
for name in distance.METRICS:
    CASES |= {
        f"cdist {name}": (lambda a, b, name=name: sd.cdist(a, b, name), [ROWS, OTHERS]),
        f"pdist {name}": (lambda a, name=name: sd.pdist(a, name), [ROWS]),
    }
    if name not in ("seuclidean", "mahalanobis"):
        CASES[name] = (lambda u, v, name=name: getattr(sd, name)(u, v), [U, V])
    if name not in ("seuclidean", "mahalanobis", "jensenshannon", "minkowski"):
        CASES |= {
            f"{name}, weights": (lambda u, v, name=name: getattr(sd, name)(u, v, w=[0.5, 1.0, 2.0, 0.3]), [U, V]),
            f"cdist {name}, weights": (lambda a, b, name=name: sd.cdist(a, b, name, w=WEIGHTS), [ROWS, OTHERS]),
        }
CASES |= {
    "seuclidean": (lambda u, v, s: sd.seuclidean(u, v, s), [U, V, U + 1]),
    "mahalanobis": (lambda u, v: sd.mahalanobis(u[:3], v[:3], INVERSE), [U, V]),
    "cdist mahalanobis, matrix": (lambda a, m: sd.cdist(a, OTHERS, "mahalanobis", VI=m), [ROWS, INVERSE]),
    "cdist seuclidean, variances": (lambda a, s: sd.cdist(a, OTHERS, "seuclidean", V=s), [ROWS, WEIGHTS]),
    "minkowski 3": (lambda u, v: sd.minkowski(u, v, 3), [U, V]),
    "minkowski, weights": (lambda u, v: sd.minkowski(u, v, 1.5, w=[0.5, 1.0, 2.0, 0.3]), [U, V]),
    "cdist minkowski 1.5": (lambda a, b: sd.cdist(a, b, "minkowski", p=1.5, w=WEIGHTS), [ROWS, OTHERS]),
    "jensenshannon, base": (lambda u, v: sd.jensenshannon(u, v, 2.0), [U, V]),
    "jensenshannon, axis": (lambda a: sd.jensenshannon(a, ROWS[::-1], axis=1, keepdims=True), [ROWS]),
    "correlation, not centered": (lambda u, v: sd.correlation(u, v, centered=False), [U, V]),
    "cdist, a function": (lambda a, b: sd.cdist(a, b, lambda u, v: np.sum((u - v) ** 4)), [ROWS, OTHERS]),
    "pdist, a function": (lambda a: sd.pdist(a, lambda u, v: (u @ v) ** 2), [ROWS]),
    "cdist, an alias": (lambda a, b: sd.cdist(a, b, "cheby"), [ROWS, OTHERS]),
    "squareform": (lambda v: sd.squareform(v), [rng.uniform(size=6)]),
    "squareform of a matrix": (lambda a: sd.squareform(sd.squareform(sd.pdist(a)), checks=False), [ROWS]),
    "distance_matrix": (lambda a, b: distance_matrix(a, b, p=3), [ROWS, OTHERS]),
}


@pytest.mark.parametrize("case", CASES)
def test_distances(case):
    assert_caught(*CASES[case])


def test_every_function_has_a_case():
    assert {case.replace(",", "").split()[0] for case in CASES} >= set(distance.FUNCTIONS)


def test_distances_of_coinciding_points():
    gradient = wg.grad(lambda a: np.sum(sd.cdist(a, a)))(ROWS)
    assert np.all(np.isfinite(gradient))
    kernel = lambda a: np.sum(np.exp(-(sd.cdist(a, ROWS) ** 2)))  # noqa: E731
    assert_close(wg.hessian(kernel)(ROWS).reshape(18, 18),
                 truth.differences(wg.grad(kernel), [ROWS], 0, step=1e-3).reshape(18, 18), 1e-7)  # fmt: skip


@pytest.mark.parametrize(
    ("f", "error", "words"),
    [
        (lambda a: sd.cdist(a, a, "hamming"), UnsupportedError, "counts entries"),
        (lambda a: sd.cdist(a, a, "no such"), ValueError, "Unknown"),
        (lambda a: sd.cdist(a, a[:, :2]), ValueError, "same number of columns"),
        (lambda a: sd.pdist(a[0]), ValueError, "2-dimensional"),
    ],
)
def test_what_is_no_distance_raises(f, error, words):
    with pytest.raises(error, match=words):
        wg.grad(lambda a: np.sum(f(a)))(ROWS)


# ---- Rotations ----

compiled = not isinstance(Rotation.apply, FunctionType)
with_rotations = pytest.mark.skipif(compiled, reason="SciPy's rotations are compiled before 1.17")
VECTOR, VECTORS = np.array([0.4, -0.7, 0.2]), rng.normal(size=(2, 3))
FAR = np.array([1.9, -1.6, 1.1])
POINTS = rng.normal(size=(2, 3))
QUAT = np.array([0.3, -0.2, 0.5, 0.9])
plain, several = Rotation.from_rotvec([0.3, 0.2, -0.5]), Rotation.from_rotvec(rng.normal(size=(2, 3)))
TURNS = {
    "from_rotvec": (lambda v: Rotation.from_rotvec(v).as_quat(), [VECTOR]),
    "from_rotvec of several": (lambda v: Rotation.from_rotvec(v, degrees=True).as_quat(), [60 * VECTORS]),
    "from_quat": (lambda q: Rotation.from_quat(q).as_matrix(), [QUAT]),
    "from_quat, scalar first": (lambda q: Rotation.from_quat(q, scalar_first=True).as_quat(), [np.stack([QUAT] * 2)]),
    "__init__": (lambda q: Rotation(q).as_matrix(), [QUAT]),
    "from_matrix": (lambda v: Rotation.from_matrix(Rotation.from_rotvec(v).as_matrix()).as_quat(), [VECTOR]),
    "from_matrix, far": (lambda v: Rotation.from_matrix(Rotation.from_rotvec(v).as_matrix()).as_matrix(), [FAR]),
    "from_matrix, not orthogonal": (
        lambda m: Rotation.from_matrix(m).as_matrix(),
        [plain.as_matrix() + 0.1 * np.diag([0.3, 0.7, -0.2])],
    ),
    "from_mrp": (lambda v: Rotation.from_mrp(v).as_mrp(), [VECTOR]),
    "as_quat, canonical": (lambda v: Rotation.from_rotvec(v).as_quat(canonical=True, scalar_first=True), [FAR * 1.5]),
    "as_matrix": (lambda v: Rotation.from_rotvec(v).as_matrix(), [VECTORS]),
    "as_rotvec": (lambda q: Rotation.from_quat(q).as_rotvec(), [QUAT]),
    "as_rotvec, far": (lambda q: Rotation.from_quat(q).as_rotvec(degrees=True), [np.array([0.7, 0.1, 0.9, -0.2])]),
    "as_mrp": (lambda q: Rotation.from_quat(q).as_mrp(), [-QUAT]),
    "apply": (lambda v, p: Rotation.from_rotvec(v).apply(p), [VECTOR, POINTS[0]]),
    "apply to several": (lambda v, p: Rotation.from_rotvec(v).apply(p, inverse=True), [VECTOR, POINTS]),
    "apply of several": (lambda v, p: Rotation.from_rotvec(v).apply(p), [VECTORS, POINTS]),
    "apply, plain": (lambda p: plain.apply(p) + several.apply(p), [POINTS]),
    "__mul__": (lambda v: (Rotation.from_rotvec(v) * plain * Rotation.from_rotvec(2 * v)).as_matrix(), [VECTOR]),
    "__mul__ of several": (lambda v: (several * Rotation.from_rotvec(v)).as_matrix(), [VECTOR]),
    "__pow__": (lambda v, n: (Rotation.from_rotvec(v) ** n).as_matrix(), [VECTOR, np.array(0.7)]),
    "__pow__, whole": (lambda v: (Rotation.from_rotvec(v) ** -1).as_matrix(), [VECTOR]),
    "__getitem__": (lambda v: Rotation.from_rotvec(v)[1].as_matrix(), [VECTORS]),
    "__getitem__ of several": (lambda v: Rotation.from_rotvec(v)[[1, 0, 1]].as_quat(), [VECTORS]),
    "inv": (lambda v: Rotation.from_rotvec(v).inv().as_quat(), [VECTOR]),
    "magnitude": (lambda v: Rotation.from_rotvec(v).magnitude(), [VECTORS]),
    "mean": (lambda v: Rotation.from_rotvec(v).mean([0.3, 0.7, 0.5, 1.0]).as_matrix(), [rng.normal(size=(4, 3))]),
    "concatenate": (lambda v: Rotation.concatenate([Rotation.from_rotvec(v), several]).as_matrix(), [VECTORS]),
    "Slerp": (lambda v, t: Slerp([0.0, 1.0], Rotation.from_rotvec(v))(t).as_matrix(), [VECTORS, np.array([0.2, 0.9])]),
    "Slerp at one time": (lambda t: Slerp([0.0, 1.0], several)(t).as_rotvec(), [np.array(0.3)]),
}
for seq in ("x", "zy", "xyz", "XYZ", "zyz", "ZXZ"):
    TURNS[f"from_euler {seq}"] = (
        lambda a, seq=seq: Rotation.from_euler(seq, a[: len(seq)] if len(seq) > 1 else a[0]).as_quat(),
        [VECTOR],
    )
    if len(seq) == 3:
        TURNS[f"as_euler {seq}"] = (lambda v, seq=seq: Rotation.from_rotvec(v).as_euler(seq), [VECTOR])
TURNS |= {
    "from_euler of several": (lambda a: Rotation.from_euler("zyx", a, degrees=True).as_matrix(), [50 * VECTORS]),
    "from_euler about one axis": (lambda a: Rotation.from_euler("z", a[:, None]).as_matrix(), [VECTOR]),
}


@with_rotations
@pytest.mark.parametrize("case", TURNS)
def test_rotations(case):
    assert_caught(*TURNS[case], rtol=1e-6)


@with_rotations
def test_every_method_has_a_case():
    assert {case.replace(",", "").split()[0] for case in TURNS} >= {
        name.split(".")[1] for name in rotations.METHODS if name.startswith("Rotation")
    }


@with_rotations
def test_derivatives_at_the_identity():
    zero = np.zeros(3)

    def turned(v):
        return Rotation.from_rotvec(v).apply([1.0, 2.0, 3.0])

    def back(v):
        return Rotation.from_rotvec(v).as_rotvec()

    for f in (turned, back):
        assert_close(wg.jacobian(f)(zero), truth.differences(f, [zero], 0, step=1e-3), 1e-9)
        second = wg.jacobian(wg.jacobian(f))(zero)
        assert_close(second, truth.differences(lambda v, f=f: wg.jacobian(f)(v), [zero], 0, step=1e-2), 1e-8)
    assert_close(wg.jacobian(back)(zero), np.eye(3), 1e-14)
    third = wg.jacobian(wg.jacobian(wg.jacobian(turned)))(zero)
    assert_close(third, truth.differences(lambda v: wg.jacobian(wg.jacobian(turned))(v), [zero], 0, step=1e-2), 1e-7)


@with_rotations
def test_rotations_of_traced_values_are_scipys_own_and_batches_agree():
    def f(v):
        rotation = Rotation.from_rotvec(v)
        assert isinstance(rotation, transform.Rotation)
        assert rotation.single
        return np.sum(np.sin(rotation.as_matrix()) * rotation.apply(POINTS[0]))

    np.testing.assert_allclose(wg.vmap(f)(VECTORS), [f(v) for v in VECTORS])
    program = wg.trace(f)(VECTOR)
    np.testing.assert_allclose(program(FAR), f(FAR))
    np.testing.assert_allclose(wg.grad(program)(FAR), wg.grad(f)(FAR))
    namespace = {}
    exec(program.source(), namespace)
    assert np.isclose(namespace["f"](VECTOR), f(VECTOR))


@pytest.mark.skipif(not compiled, reason="SciPy 1.17 has rotations in Python")
def test_compiled_rotations_say_so():
    with pytest.raises(UnsupportedError, match="Rotation"):
        wg.grad(lambda v: np.sum(Rotation.from_rotvec(v).as_matrix()))(VECTOR)

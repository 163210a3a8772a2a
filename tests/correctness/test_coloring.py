"""Colorings: every one against a slow checker, stencils and arrowheads against the fewest colors that there can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from wengert.accumulation.coloring import bicoloring as bicolorings
from wengert.accumulation.coloring import (
    color_columns,
    color_rows,
    color_rows_and_columns,
    color_symmetric,
    distance2,
    lattices,
    structure_of,
    symmetric,
)
from wengert.accumulation.coloring.vertex_orders import ORDERS, smallest_last

# ---- Slow checkers: the definitions, entry by entry ----


def entries_of(pattern):
    rows, columns = pattern.toarray().nonzero()
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def columns_are_apart(pattern, colors):
    """No row has two columns of one color."""
    dense = pattern.toarray()
    return all(len({colors[j] for j in np.flatnonzero(row)}) == np.count_nonzero(row) for row in dense)


def each_entry_can_be_read(pattern, columns, rows):
    """Each entry stands alone in its row among columns of its color, or in its column among rows of its color."""
    dense = pattern.toarray()
    for i, j in entries_of(pattern):
        by_column = columns[j] >= 0 and [columns[k] for k in np.flatnonzero(dense[i])].count(columns[j]) == 1
        by_row = rows[i] >= 0 and [rows[k] for k in np.flatnonzero(dense[:, j])].count(rows[i]) == 1
        if not (by_column or by_row):
            return False
    return True


def neighbors(pattern):
    dense = pattern.toarray()
    return [[int(j) for j in np.flatnonzero(row) if j != i] for i, row in enumerate(dense)]


def neighbors_differ(pattern, colors):
    return all(colors[u] != colors[v] for u, beside in enumerate(neighbors(pattern)) for v in beside)


def paths_have_three_colors(pattern, colors):
    """Every path on four vertices has three colors."""
    beside = neighbors(pattern)
    return not any(
        len({colors[a], colors[b], colors[c], colors[d]}) < 3
        for b in range(len(beside))
        for c in beside[b]
        for a in beside[b]
        for d in beside[c]
        if len({a, b, c, d}) == 4
    )


def cycles_have_three_colors(pattern, colors):
    """No two colors have a cycle between them: taking leaves away leaves nothing."""
    beside = neighbors(pattern)
    for pair in itertools.combinations(sorted(set(colors)), 2):
        left = {v: {w for w in beside[v] if colors[w] in pair} for v in range(len(colors)) if colors[v] in pair}
        while leaves := [v for v, its in left.items() if len(its) <= 1]:
            for v in leaves:
                for w in left.pop(v):
                    left[w].discard(v)
        if left:
            return False
    return True


def is_star(pattern, colors):
    return neighbors_differ(pattern, colors) and paths_have_three_colors(pattern, colors)


def is_acyclic(pattern, colors):
    return neighbors_differ(pattern, colors) and cycles_have_three_colors(pattern, colors)


# ---- Patterns ----


def banded(n, *offsets):
    return structure_of(sparse.diags_array([1.0] * len(offsets), offsets=list(offsets), shape=(n, n)))


def stencil(shape, points, periodic=False, fields=1):
    """Return the pattern of a stencil on a grid; several fields are laid side by side and meet at each point."""
    index = np.indices(shape).reshape(len(shape), -1)
    size = index.shape[1]
    rows, columns = [], []
    for point in points:
        moved = index + np.array(point)[:, None]
        if periodic:
            moved %= np.array(shape)[:, None]
        inside = np.all((moved >= 0) & (moved < np.array(shape)[:, None]), axis=0)
        rows.append(np.flatnonzero(inside))
        columns.append(np.ravel_multi_index(moved[:, inside], shape))
    one = [np.concatenate(part) for part in (rows, columns)]
    here = np.arange(size)
    every = [
        (one[0] + f * size, one[1] + f * size) if f == g else (here + f * size, here + g * size)
        for f in range(fields)
        for g in range(fields)
    ]
    rows, columns = (np.concatenate(part) for part in zip(*every, strict=True))
    return structure_of(sparse.coo_array((np.ones(rows.size), (rows, columns)), shape=(fields * size,) * 2))


def cross(axes):
    """Return the points of a stencil: a point and its two neighbors along each axis."""
    return [(0,) * axes, *[tuple(s * (k == axis) for k in range(axes)) for axis in range(axes) for s in (1, -1)]]


def box(axes):
    return list(itertools.product((-1, 0, 1), repeat=axes))


def arrowhead(n):
    dense = np.eye(n, dtype=bool)
    dense[0] = dense[:, 0] = True
    return structure_of(dense)


@st.composite
def patterns(draw, most=14):
    m, n = draw(st.integers(1, most)), draw(st.integers(1, most))
    density = draw(st.floats(0.0, 0.6))
    dense = np.random.default_rng(draw(st.integers(0, 10**6))).random((m, n)) < density
    for _ in range(draw(st.integers(0, 2))):
        dense[draw(st.integers(0, m - 1))] = True
        dense[:, draw(st.integers(0, n - 1))] = True
    return structure_of(dense)


@st.composite
def symmetric_patterns(draw, most=12):
    n = draw(st.integers(1, most))
    dense = np.random.default_rng(draw(st.integers(0, 10**6))).random((n, n)) < draw(st.floats(0.0, 0.5))
    return structure_of(dense | dense.T)


# ---- Columns and rows ----


@settings(max_examples=60, deadline=None)
@given(patterns())
def test_no_row_has_two_columns_of_one_color_whatever_the_pattern(pattern):
    columns, rows = color_columns(pattern), color_rows(pattern)
    assert columns_are_apart(pattern, columns.colors)
    assert columns_are_apart(pattern.T.tocsr(), rows.colors)
    assert columns.count == len(set(columns.colors.tolist())) >= distance2.lower_bound(pattern)


@settings(max_examples=40, deadline=None)
@given(patterns(), st.integers(0, 10**6))
def test_a_greedy_coloring_is_valid_in_every_order_of_the_columns(pattern, seed):
    order = np.random.default_rng(seed).permutation(pattern.shape[1])
    assert columns_are_apart(pattern, distance2.greedy(pattern, order.tolist()))


@settings(max_examples=60, deadline=None)
@given(patterns(8), st.integers(1, 6), st.integers(0, 10**6))
def test_the_fast_checker_of_columns_agrees_with_the_definition(pattern, count, seed):
    colors = np.random.default_rng(seed).integers(0, count, pattern.shape[1])
    assert distance2.is_valid(pattern, colors) == columns_are_apart(pattern, colors)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@settings(max_examples=25, deadline=None)
@given(pattern=symmetric_patterns())
def test_a_vertex_order_takes_each_vertex_once(order, pattern):
    graph = symmetric.neighbors_of(pattern)
    assert sorted(order(graph.indptr, graph.indices).tolist()) == list(range(pattern.shape[0]))


@settings(max_examples=25, deadline=None)
@given(symmetric_patterns())
def test_smallest_last_leaves_the_smallest_degree_to_the_last(pattern):
    graph = symmetric.neighbors_of(pattern)
    beside, order = neighbors(pattern), smallest_last(graph.indptr, graph.indices).tolist()
    for k, v in enumerate(order):
        before = set(order[: k + 1])
        assert len(before.intersection(beside[v])) == min(len(before.intersection(beside[w])) for w in before)


def test_the_colors_of_a_pattern_are_the_same_at_each_call():
    rng = np.random.default_rng(5)
    pattern = structure_of(rng.random((40, 40)) < 0.1)
    assert color_columns(pattern).colors.tolist() == color_columns(pattern).colors.tolist()


# ---- The fewest colors that there can be ----


@pytest.mark.parametrize("r", [1, 2, 3, 4, 5, 6, 7])
def test_a_band_of_r_diagonals_has_as_few_colors_as_a_row_has_entries(r):
    pattern = banded(200, *range(-(r // 2), r // 2 + 1))
    coloring = color_columns(pattern)
    assert coloring.count == 2 * (r // 2) + 1
    assert columns_are_apart(pattern, coloring.colors)


STENCILS = {
    "five points": (stencil((17, 23), cross(2)), 5),
    "five points, periodic": (stencil((15, 20), cross(2), periodic=True), 5),
    "nine points": (stencil((14, 19), box(2)), 9),
    "nine points, periodic": (stencil((12, 15), box(2), periodic=True), 9),
    "seven points": (stencil((7, 8, 9), cross(3)), 7),
    "seven points, periodic": (stencil((7, 7, 7), cross(3), periodic=True), 7),
    "27 points": (stencil((6, 7, 8), box(3)), 27),
    "two fields of five points, periodic": (stencil((18, 18), cross(2), periodic=True, fields=2), 6),
}


@pytest.mark.parametrize("name", STENCILS)
def test_a_stencil_has_as_few_colors_as_points(name):
    pattern, points = STENCILS[name]
    coloring = color_columns(pattern)
    assert coloring.count == points == distance2.lower_bound(pattern)
    assert columns_are_apart(pattern, coloring.colors)


@pytest.mark.parametrize("interleaved", [False, True])
def test_two_periodic_fields_have_six_colors_however_they_are_laid_out(interleaved):
    pattern = stencil((12, 12), cross(2), periodic=True, fields=2)
    if interleaved:
        order = np.arange(288).reshape(2, 144).T.ravel()
        pattern = structure_of(pattern[order][:, order])
    coloring = color_columns(pattern)
    assert coloring.count == 6
    assert columns_are_apart(pattern, coloring.colors)


def test_a_lattice_coloring_is_checked_where_the_pattern_is_no_stencil():
    dense = stencil((12, 12), cross(2)).toarray()
    dense[70, 75] = dense[71, 80] = True  # two entries off the stencil
    pattern = structure_of(dense)
    coloring = lattices.lattice_coloring(pattern, 40)
    assert coloring is None or columns_are_apart(pattern, coloring.colors)
    assert columns_are_apart(pattern, color_columns(pattern).colors)


@settings(max_examples=40, deadline=None)
@given(patterns())
def test_a_lattice_coloring_is_valid_wherever_there_is_one(pattern):
    coloring = lattices.lattice_coloring(pattern, 20)
    assert coloring is None or columns_are_apart(pattern, coloring.colors)


@pytest.mark.parametrize(("k", "axes"), [(1, 2), (4, 2), (6, 2), (9, 2), (2, 3), (8, 3)])
def test_the_sublattices_of_an_index_are_all_there_and_have_as_many_colors(k, axes):
    divisors = [d for d in range(1, k + 1) if k % d == 0]
    sums = [sum(e for e in divisors if d % e == 0) for d in divisors]
    many = sum(divisors) if axes == 2 else sum((k // d) ** 2 * s for d, s in zip(divisors, sums, strict=True))
    bases = np.concatenate(list(lattices.sublattices(k, axes)))
    assert len({basis.tobytes() for basis in bases}) == many
    points = np.indices((k,) * axes).reshape(axes, -1).T
    for basis in bases:
        left = np.stack(lattices.remainders(points, basis), axis=1)
        assert len({tuple(point) for point in left.tolist()}) == k


def test_iterated_greedy_never_needs_more_colors():
    rng = np.random.default_rng(1)
    for _ in range(20):
        pattern = structure_of(rng.random((30, 30)) < 0.15)
        first = distance2.natural_coloring(pattern)
        again = distance2.recolored(pattern, first, distance2.Effort(10**6))
        assert again.count <= first.count
        assert columns_are_apart(pattern, again.colors)


def test_columns_that_a_full_row_keeps_apart_have_a_color_each_and_cost_nothing():
    assert color_columns(arrowhead(50)).count == 50
    n = 200_000
    rows, columns = np.r_[np.arange(n), np.zeros(n, int)], np.r_[np.arange(n), np.arange(n)]
    coloring = color_columns(structure_of(sparse.coo_array((np.ones(2 * n), (rows, columns)))))
    assert coloring.count == n


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (3, 3)])
def test_an_empty_pattern_needs_no_more_than_a_color(shape):
    pattern = structure_of(np.zeros(shape, bool))
    assert color_columns(pattern).count <= 1
    assert color_rows(pattern).count <= 1
    columns, rows = color_rows_and_columns(pattern)
    assert columns.count == rows.count == 0


# ---- Columns and rows together ----


@settings(max_examples=60, deadline=None)
@given(patterns())
def test_each_entry_can_be_read_from_the_columns_or_the_rows(pattern):
    columns, rows = color_rows_and_columns(pattern)
    assert each_entry_can_be_read(pattern, columns.colors, rows.colors)


@settings(max_examples=60, deadline=None)
@given(patterns(8), st.integers(0, 10**6))
def test_the_fast_checker_of_both_agrees_with_the_definition(pattern, seed):
    rng = np.random.default_rng(seed)
    columns, rows = (rng.integers(-1, 4, size) for size in (pattern.shape[1], pattern.shape[0]))
    assert bicolorings.is_valid(pattern, columns, rows) == each_entry_can_be_read(pattern, columns, rows)


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_an_arrowhead_takes_three_passes(n):
    columns, rows = color_rows_and_columns(arrowhead(n))
    assert columns.count + rows.count == min(3, n)
    if n <= 10:
        assert each_entry_can_be_read(arrowhead(n), columns.colors, rows.colors)
    assert bicolorings.is_valid(arrowhead(n), columns.colors, rows.colors)


def test_dense_rows_and_columns_across_a_band_cost_a_pass_each():
    dense = banded(60, -1, 0, 1).toarray()
    dense[[7, 40]] = True
    dense[:, [3, 30]] = True
    columns, rows = color_rows_and_columns(structure_of(dense))
    assert columns.count + rows.count == 3 + 2 + 2
    assert each_entry_can_be_read(structure_of(dense), columns.colors, rows.colors)


# ---- Symmetric patterns ----


@settings(max_examples=60, deadline=None)
@given(symmetric_patterns())
def test_star_and_acyclic_colorings_are_what_they_are_called(pattern):
    star, acyclic = (color_symmetric(pattern, kind).colors.tolist() for kind in ("star", "acyclic"))
    assert is_star(pattern, star)
    assert is_acyclic(pattern, acyclic)


@settings(max_examples=80, deadline=None)
@given(symmetric_patterns(9), st.integers(2, 6), st.integers(0, 10**6))
def test_the_fast_checkers_of_symmetric_patterns_agree_with_the_definitions(pattern, count, seed):
    colors = np.random.default_rng(seed).integers(0, count, pattern.shape[0])
    if seed % 2:
        colors = np.array(symmetric.greedy_acyclic(symmetric.neighbors_of(pattern), range(colors.size)))
    graph = symmetric.neighbors_of(pattern)
    assert symmetric.is_star(graph, colors) == is_star(pattern, colors.tolist())
    assert symmetric.is_acyclic(graph, colors) == is_acyclic(pattern, colors.tolist())


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@settings(max_examples=20, deadline=None)
@given(pattern=symmetric_patterns())
def test_greedy_star_and_acyclic_colorings_are_valid_in_every_order(order, pattern):
    graph = symmetric.neighbors_of(pattern)
    vertices = order(graph.indptr, graph.indices).tolist()
    assert is_star(pattern, symmetric.greedy_star(graph, vertices))
    assert is_acyclic(pattern, symmetric.greedy_acyclic(graph, vertices))


FEWEST = {
    "a chain of 10,000 (Rosenbrock)": (banded(10_000, -1, 0, 1), 3, 2),
    "100 by 100, five points (Bratu)": (stencil((100, 100), cross(2)), 5, 3),
    "an arrowhead of 1,000": (arrowhead(1000), 2, 2),
    "a diagonal": (banded(50, 0), 1, 1),
    "five diagonals": (banded(500, -2, -1, 0, 1, 2), 5, 3),
    "nine points": (stencil((20, 20), box(2)), 9, 5),
}


@pytest.mark.parametrize("name", FEWEST)
def test_symmetric_patterns_that_are_known_have_the_fewest_colors_that_are_known(name):
    pattern, star, acyclic = FEWEST[name]
    colorings = color_symmetric(pattern, "star"), color_symmetric(pattern, "acyclic")
    assert [coloring.count for coloring in colorings] == [star, acyclic]
    graph = symmetric.neighbors_of(pattern)
    assert symmetric.is_star(graph, colorings[0].colors)
    assert symmetric.is_acyclic(graph, colorings[1].colors)

"""Variables of a symmetric matrix that share a product: star, acyclic and proper colorings of its graph.

Each entry stands in the matrix twice, and reading it once is enough.  Neighbors have different colors, and

- in a *star coloring* every path on four vertices has three colors: of each entry, at least one of its two places is
  alone in its row among the columns of its color, and is read there (*direct* recovery);
- in an *acyclic coloring* every cycle has three colors: the entries between two colors are the edges of trees, and are
  solved for from the leaves inward (recovery by *substitution*);
- in a *proper coloring* nothing more is asked for: of each row the entry on the diagonal is alone, and that is enough
  where only the diagonal is wanted.

See Gebremedhin, Manne and Pothen (2005).

>>> from scipy.sparse import diags_array
>>> chain = diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(6, 6)).tocsr()
>>> greedy_star(neighbors_of(chain), range(6)), greedy_acyclic(neighbors_of(chain), range(6))
([0, 1, 0, 2, 0, 1], [0, 1, 0, 1, 0, 1])
>>> color_symmetric(chain, "proper", Effort(0))
Coloring(2 colors, sides of a bipartite graph)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.coloring.lattices import lattice_coloring, lattice_coloring_of_graph
from wengert.accumulation.coloring.partition import Coloring, Effort, Pattern, best, first_of, row_numbers, structure_of
from wengert.accumulation.coloring.vertex_orders import ORDERS

Array = Any
Graph = Any
"""A symmetric pattern in CSR form, without a diagonal."""


def neighbors_of(pattern: Pattern) -> Graph:
    """Return the graph of a symmetric pattern: what stands off its diagonal."""
    graph = pattern.astype(np.int8)
    rows = row_numbers(graph)
    graph.data[rows == graph.indices] = 0
    graph.eliminate_zeros()
    return graph


# ---- What a coloring has to be ----


def neighbors_by_color(graph: Graph, colors: Array) -> Array:
    """Return how many neighbors of each color each vertex has, one row a vertex."""
    n, count = graph.shape[0], int(colors.max(initial=0)) + 1
    counts = np.bincount(row_numbers(graph) * count + colors[graph.indices], minlength=n * count)
    return counts.reshape(n, count)


def is_proper(graph: Graph, colors: Array) -> bool:
    """Return whether neighbors have different colors."""
    return bool(np.all(colors[row_numbers(graph)] != colors[graph.indices]))


def is_star(graph: Graph, colors: Array) -> bool:
    """Return whether neighbors have different colors, and every path on four vertices three."""
    if not is_proper(graph, colors):
        return False
    counts, rows = neighbors_by_color(graph, colors), row_numbers(graph)
    here, there = counts[rows, colors[graph.indices]], counts[graph.indices, colors[rows]]
    return bool(np.all((here == 1) | (there == 1)))


def two_colored_subgraphs(graph: Graph, colors: Array) -> tuple[Array, Array]:
    """Return for each stored entry (u, v) two nodes: u among the neighbors of v's color, and v among those of u's.

    The nodes and edges are those of all subgraphs of two colors side by side.
    """
    count, rows = int(colors.max(initial=0)) + 1, row_numbers(graph)
    return rows * count + colors[graph.indices], graph.indices * count + colors[rows]


def is_acyclic(graph: Graph, colors: Array) -> bool:
    """Return whether neighbors have different colors, and every cycle three."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    if not is_proper(graph, colors):
        return False
    here, there = two_colored_subgraphs(graph, colors)
    nodes, numbers = np.unique(here, return_inverse=True)
    if graph.nnz // 2 >= max(nodes.size, 1):
        return False
    ends = np.searchsorted(nodes, there)
    subgraphs = sparse.coo_array((np.ones(here.size, bool), (numbers, ends)), shape=(nodes.size, nodes.size))
    trees = connected_components(subgraphs, directed=False)[0]
    return bool(graph.nnz // 2 == nodes.size - trees)


# ---- Greedy colorings ----


def greedy_star(graph: Graph, order: Iterable[int]) -> list[int]:
    """Give each vertex in turn the smallest color that leaves no path on four vertices with two colors."""
    starts, ends = graph.indptr.tolist(), graph.indices.tolist()
    colors = [-1] * graph.shape[0]
    neighbors_of_color: list[dict[int, list[int]]] = [{} for _ in colors]
    for v in order:
        its_neighbors = neighbors_of_color[v]
        neighbors = [w for w in ends[starts[v] : starts[v + 1]] if colors[w] >= 0]
        forbidden = set(its_neighbors)
        for w in neighbors:
            b = colors[w]
            several = len(its_neighbors[b]) > 1
            for c, others in neighbors_of_color[w].items():
                if several or (len(others) == 1 and len(neighbors_of_color[others[0]][b]) > 1):
                    forbidden.add(c)
        color = 0
        while color in forbidden:
            color += 1
        colors[v] = color
        for w in ends[starts[v] : starts[v + 1]]:
            neighbors_of_color[w].setdefault(color, []).append(v)
    return colors


def greedy_acyclic(graph: Graph, order: Iterable[int]) -> list[int]:
    """Give each vertex in turn the smallest color that closes no cycle of two colors.

    A node is a vertex among its neighbors of one color; nodes are joined to trees by their edges.
    """
    starts, ends = graph.indptr.tolist(), graph.indices.tolist()
    n = graph.shape[0]
    colors = [-1] * n
    colors_beside: list[set[int]] = [set() for _ in colors]
    parent: dict[int, int] = {}

    def tree(node: int) -> int:
        root = node
        while (above := parent.get(root, root)) != root:
            root = above
        while node != root:
            parent[node], node = root, parent[node]
        return root

    for v in order:
        neighbors = [w for w in ends[starts[v] : starts[v + 1]] if colors[w] >= 0]
        forbidden = {colors[w] for w in neighbors}
        seen = set()
        for w in neighbors:
            for c in colors_beside[w]:
                if c not in forbidden:
                    root = tree(c * n + w)
                    if root in seen:
                        forbidden.add(c)
                    seen.add(root)
        color = 0
        while color in forbidden:
            color += 1
        colors[v] = color
        for w in neighbors:
            parent[tree(colors[w] * n + v)] = tree(color * n + w)
        for w in ends[starts[v] : starts[v + 1]]:
            colors_beside[w].add(color)
    return colors


def greedy_proper(graph: Graph, order: Iterable[int]) -> list[int]:
    """Give each vertex in turn the smallest color that no neighbor has."""
    starts, ends = graph.indptr.tolist(), graph.indices.tolist()
    colors = [-1] * graph.shape[0]
    for v in order:
        forbidden = {colors[w] for w in ends[starts[v] : starts[v + 1]]}
        color = 0
        while color in forbidden:
            color += 1
        colors[v] = color
    return colors


GREEDY = {"star": greedy_star, "acyclic": greedy_acyclic, "proper": greedy_proper}
"""The greedy coloring of each kind."""


def two_sides(graph: Graph) -> Coloring | None:
    """Return the proper coloring of a bipartite graph, None for another graph.

    Where a graph is bipartite, its double cover falls apart into two copies of it.

    >>> from scipy.sparse import csr_array
    >>> triangle = csr_array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    >>> two_sides(triangle) is None, two_sides(triangle[:2, :2]).colors.tolist()
    (True, [0, 1])
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    n = graph.shape[0]
    _, parts = connected_components(sparse.block_array([[None, graph], [graph, None]]), directed=False)
    here, there = parts[:n], parts[n:]
    if np.any(here == there):
        return None
    return Coloring.of(here > there, "sides of a bipartite graph")


# ---- The best of several ----

MOST_COLORS = 64
"""A lattice coloring has so many colors at most."""


def color_symmetric(pattern: Pattern, kind: str, effort: Effort, shape: Sequence[int] = ()) -> Coloring:
    """Return the star, acyclic or proper coloring (`kind`) of a symmetric pattern with the fewest colors of several."""
    graph = neighbors_of(pattern)
    if kind == "proper" and graph.nnz and (coloring := two_sides(graph)) is not None:
        return coloring
    greedy = GREEDY[kind]
    bound = _lower_bound(graph, kind)
    coloring = first_of(
        lambda most: Coloring.of(greedy(graph, range(graph.shape[0])), "greedy, natural order"),
        lambda most: _lattice_coloring(graph, kind, bound, most, shape),
        graph.nnz,
        bound,
        MOST_COLORS,
    )
    for name, vertex_order in ORDERS.items():
        if name != "natural" and coloring.count > bound and effort.allows(graph.nnz * (4 + coloring.count)):
            order = vertex_order(graph.indptr, graph.indices).tolist()
            coloring = best([coloring, Coloring.of(greedy(graph, order), f"greedy, {name}")])
    return coloring


def _lower_bound(graph: Graph, kind: str) -> int:
    """Return a number of colors below which there is none: 2 with an edge, 3 with what two cannot color.

    A graph that is to have a proper coloring is not bipartite here.
    """
    if not graph.nnz:
        return 1
    degrees = np.diff(graph.indptr)
    rows = row_numbers(graph)
    is_path = bool(np.any((degrees[rows] > 1) & (degrees[graph.indices] > 1)))
    return 3 if kind == "proper" or (is_path and kind == "star") else 2


def _lattice_coloring(graph: Graph, kind: str, bound: int, most: int, shape: Sequence[int]) -> Coloring | None:
    """Return a lattice coloring, if there is one.

    A star coloring by a lattice separates a vertex and all its neighbors, as a coloring of columns does.
    """
    from scipy import sparse

    if kind != "star":
        accepts = is_acyclic if kind == "acyclic" else is_proper
        return lattice_coloring_of_graph(graph, lambda colors: accepts(graph, colors), bound, most, shape)
    return lattice_coloring(structure_of(graph + sparse.eye_array(graph.shape[0])), most, shape)

"""The graph that an elimination works on: which vertices have edges to which, as sets of bits, and no numbers.

To *eliminate* a vertex is to multiply each partial on an edge into it with each on an edge out of it: the product
stands on an edge from predecessor to successor, added to what is there (*fill-in*, if nothing is).  Once all
intermediate variables are eliminated, the edges that are left are the entries of the Jacobian (Griewank & Walther,
*Evaluating Derivatives*, chapters 9 and 10).  The order changes the number of products, and nothing else.

>>> graph = Graph(2, {(0, 2): False, (1, 2): True, (2, 3): False, (3, 4): False, (3, 5): True}, results=[4, 5])
>>> graph.count([2, 3]), graph.count([3, 2])
(Counts(products=6, unit_free=3, additions=0), Counts(products=6, unit_free=3, additions=0))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

Edge = tuple[int, int]
EdgeStep = tuple[int, int, bool]
"""The elimination of one edge, from and to: at its front (True), past its target, or at its back, past its source."""
Step = int | EdgeStep
"""The elimination of a vertex, or of an edge."""
Weights = tuple[int, int]
"""What a product counts by the first convention, and what more if neither factor is 1 or -1."""


class Counts(NamedTuple):
    """What an elimination multiplies and adds, by the two published conventions.

    Attributes
    ----------
    products
        Every product of two local partials, those with 1 and -1 as well (Griewank & Walther).
    unit_free
        The products of which neither factor is 1 or -1.
    additions
        The products that are added to an edge which is there.
    """

    products: int
    unit_free: int
    additions: int

    @property
    def operations(self) -> int:
        """What is computed: products by 1 and -1 are not."""
        return self.unit_free + self.additions

    def weighted(self, weights: Weights) -> int:
        """Return what a search makes small: the products, weighted by the conventions."""
        return weights[0] * self.products + weights[1] * self.unit_free


NOTHING = Counts(0, 0, 0)


class Graph:
    """A linearized graph of scalars, without the values of its partials.

    The vertices are numbered, each set of them is an integer with the bits of its members.  An intermediate variable
    that is a result as well gets a further vertex, for the result, and a *copy* edge to it, along which nothing is
    multiplied.

    Parameters
    ----------
    inputs
        The number of independent variables: the first vertices.
    edges
        The edges (source, target), and for each whether its partial is 1 or -1.
    results
        The vertices that are results, each once; none is an independent variable.

    Attributes
    ----------
    interior
        The vertices to eliminate, in the order of the list.
    before, after
        The predecessors and successors of each vertex.
    units_before, units_after
        Those of them whose edge has the partial 1 or -1.
    copies
        The results of the copy edges that are left.
    copy_of
        For each result that is an intermediate variable as well, the vertex of the result.
    """

    __slots__ = ("after", "before", "copies", "copy_of", "inputs", "interior", "units_after", "units_before")

    def __init__(self, inputs: int, edges: Mapping[Edge, bool], results: Sequence[int]) -> None:
        sources = {source for source, _ in edges}
        size = 1 + max([inputs - 1, *results, *[target for _, target in edges]])
        used = [result for result in results if result in sources]
        self.copy_of = {result: size + k for k, result in enumerate(used)}
        self.inputs, size = inputs, size + len(used)
        self.before, self.after = [0] * size, [0] * size
        self.units_before, self.units_after = [0] * size, [0] * size
        self.copies = 0
        for (source, target), unit in edges.items():
            self._join(source, target, unit)
        for result, copy in self.copy_of.items():
            self._join(result, copy, True)
            self.copies |= 1 << copy
        self.interior = tuple([v for v in range(inputs, size) if self.before[v] and self.after[v]])

    def _join(self, source: int, target: int, unit: bool) -> None:
        self.before[target] |= 1 << source
        self.after[source] |= 1 << target
        if unit:
            self.units_before[target] |= 1 << source
            self.units_after[source] |= 1 << target

    def copy(self) -> Graph:
        """Return a graph of the same edges, to be changed by itself."""
        copy = Graph.__new__(Graph)
        copy.inputs, copy.interior, copy.copies, copy.copy_of = self.inputs, self.interior, self.copies, self.copy_of
        copy.before, copy.after = self.before.copy(), self.after.copy()
        copy.units_before, copy.units_after = self.units_before.copy(), self.units_after.copy()
        return copy

    def degree(self, v: int) -> int:
        """Return the Markowitz degree of a vertex: how many products its elimination takes."""
        return self.before[v].bit_count() * (self.after[v] & ~self.copies).bit_count()

    def unit_free_degree(self, v: int) -> int:
        """Return how many products the elimination of a vertex takes, those by 1 and -1 left out."""
        rows = self.before[v].bit_count() - self.units_before[v].bit_count()
        return rows * (self.after[v].bit_count() - self.units_after[v].bit_count())

    def eliminate(self, v: int) -> Counts:
        """Eliminate a vertex; return what that multiplies and adds."""
        before, after, units_before, units_after = self.before, self.after, self.units_before, self.units_after
        sources, targets, unit_sources, unit_targets = before[v], after[v], units_before[v], units_after[v]
        products, unit_free, additions = self.degree(v), self.unit_free_degree(v), 0
        own = 1 << v
        rest = sources
        while rest:
            bit = rest & -rest
            rest ^= bit
            u = bit.bit_length() - 1
            there = after[u]
            additions += (there & targets).bit_count()
            after[u] = (there | targets) ^ own
            units_after[u] &= ~(targets | own)
            if bit & unit_sources:
                units_after[u] |= unit_targets & ~there
        rest = targets
        while rest:
            bit = rest & -rest
            rest ^= bit
            w = bit.bit_length() - 1
            there = before[w]
            before[w] = (there | sources) ^ own
            units_before[w] &= ~(sources | own)
            if bit & unit_targets:
                units_before[w] |= unit_sources & ~there
        before[v] = after[v] = units_before[v] = units_after[v] = 0
        self.copies &= ~targets
        return Counts(products, unit_free, additions)

    def eliminate_edge(self, source: int, target: int, at_front: bool) -> Counts:
        """Eliminate one edge by way of the vertex at its front, or at its back; return what that multiplies and adds.

        The vertex goes with its last edge in, or out.
        """
        v = target if at_front else source
        sources, targets = (1 << source, self.after[v]) if at_front else (self.before[v], 1 << target)
        products = unit_free = additions = 0
        for u in members(sources):
            for w in members(targets):
                is_unit = self.units_after[u] >> v & 1, self.units_after[v] >> w & 1
                products += 1
                unit_free += not any(is_unit)
                there = self.after[u] >> w & 1
                additions += there
                self._cut(u, w)
                self._join(u, w, all(is_unit) and not there)
        self._cut(source, target)
        if not self.before[v] or not self.after[v]:
            for u in members(self.before[v]):
                self._cut(u, v)
            for w in members(self.after[v]):
                self._cut(v, w)
        return Counts(products, unit_free, additions)

    def _cut(self, source: int, target: int) -> None:
        for sets, one, other in ((self.after, source, target), (self.before, target, source)):
            sets[one] &= ~(1 << other)
        self.units_after[source] &= ~(1 << target)
        self.units_before[target] &= ~(1 << source)

    def take(self, step: Step) -> Counts:
        """Eliminate a vertex or an edge."""
        return self.eliminate(step) if isinstance(step, int) else self.eliminate_edge(*step)

    def count(self, order: Iterable[Step]) -> Counts:
        """Count an elimination in some order, without changing the graph."""
        graph = self.copy()
        steps = [graph.take(step) for step in order]
        return Counts(*[sum(column) for column in zip(*steps, strict=True)]) if steps else NOTHING


def members(vertices: int) -> Iterator[int]:
    """Yield the members of a set of bits, the smallest first.

    >>> list(members(0b10110))
    [1, 2, 4]
    """
    while vertices:
        bit = vertices & -vertices
        vertices ^= bit
        yield bit.bit_length() - 1

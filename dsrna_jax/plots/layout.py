"""Places of the nodes and edges in a drawing of a cell, with as few crossings as possible."""

from itertools import combinations, islice, permutations, product

LANES = 0.88  # height that the lanes of the genes of a node share, in rows


class CellLayout:
    """The places of the nodes of a cell, whose `genes` are the (operation, source, target) of its edges.

    A node's column is its depth. Every node has a row of its own, and in it a lane for each of its genes: an edge changes
    its lane right behind its source and then runs straight, so it meets no node but its target. The order of the rows, and of
    the lanes in each, is the one with the fewest crossings of those that are tried. `most` is the largest number of genes of
    a node.
    """

    def __init__(self, genes):
        self.genes = list(genes)
        self.nodes = max(target for _, _, target in genes) - 1
        counts = [sum(target == node for _, _, target in genes) for node in range(2, self.nodes + 2)]
        self.most = max(2, *counts)
        self.columns = [0, 0]
        for node in range(2, self.nodes + 2):
            self.columns.append(1 + max(self.columns[source] for _, source, target in self.genes if target == node))
        self.depth = max(self.columns)
        # All orders of up to seven nodes; of more, the first 5040.
        orders = islice(permutations(range(self.nodes)), 5040)
        rows = min(map(self._rows, orders), key=lambda rows: self._cost(rows, self._lanes(rows)))
        flips = islice(product((False, True), repeat=self.nodes), 256)
        candidates = (self._lanes(rows, flip) for flip in flips)
        self.rows, self.lanes = rows, min(candidates, key=lambda lanes: self._cost(rows, lanes))

    def _rows(self, order):
        """The rows of all nodes: the inputs stand left of the intermediate ones, above and below their middle."""
        middle, apart = (self.nodes - 1) / 2, max(0.32, self.nodes / 5)
        return [middle - apart, middle + apart, *order]

    def _lanes(self, rows, flips=None):
        """The height of each gene, in rows: the gene from the higher source lies above, unless the node is flipped."""
        lanes = [0.0] * len(self.genes)
        for node in range(2, self.nodes + 2):
            into = [index for index, (_, _, target) in enumerate(self.genes) if target == node]
            side = -1 if flips and flips[node - 2] else 1
            from_above = sorted(into, key=lambda index: rows[self.genes[index][1]])
            for rank, index in enumerate(from_above):
                lanes[index] = rows[node] + side * LANES / self.most * (rank - (len(into) - 1) / 2)
        return lanes

    def _cost(self, rows, lanes):
        edges = zip(self.genes, lanes, strict=True)
        runs = [(self.columns[source], self.columns[target], rows[source], lane) for (_, source, target), lane in edges]
        runs += [(self.columns[node], self.nodes + 1, rows[node], rows[node]) for node in range(2, self.nodes + 2)]
        crossings = sum(_cross(*sorted(pair, reverse=True)) for pair in combinations(runs, 2))
        return crossings + 0.1 * sum(abs(stop - start) for _, _, start, stop in runs)


def _cross(later, earlier) -> bool:
    """Whether two edges (first column, last column, row at the start, lane) cross; `earlier` starts in no later column."""
    column, _, start, stop = later
    first, last, earlier_start, lane = earlier
    if first == column:
        return (start - earlier_start) * (stop - lane) < 0
    return last > column and (start - lane) * (stop - lane) < 0

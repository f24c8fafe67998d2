"""Places of the nodes and edges in a drawing of a cell, with as few crossings as possible."""

from itertools import combinations, islice, permutations, product

LANE = 0.22  # from a node's row to the lane of a gene, in rows


class Layout:
    """The places of the nodes of a cell.

    A node's column is its depth. Every node has a row of its own, and in it a lane for each of its two genes and one
    for itself: an edge changes its lane right behind its source and then runs straight, so it never meets a node. The
    order of the rows, and of the two lanes in each, is the one with the fewest crossings of those that are tried.
    """

    def __init__(self, genes):
        self.nodes = len(genes) // 2
        self.genes = [(name, source, index // 2 + 2) for index, (name, source) in enumerate(genes)]
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
        lanes = []
        for node in range(2, self.nodes + 2):
            first, second = (rows[source] for _, source, target in self.genes if target == node)
            side = 1 if (first <= second) != bool(flips and flips[node - 2]) else -1
            lanes += [rows[node] - side * LANE, rows[node] + side * LANE]
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

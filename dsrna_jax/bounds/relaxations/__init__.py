"""Relaxations of non-linear operations between intervals of their operands: an interval, and a plane below and above.

Everything is in deviations from the point where f was traced. For y = phi(x), y0 = phi(x0) and d = x - x0 in an `Interval`,

    lower * d - lower_gap  <=  y - y0  <=  upper * d + upper_gap,

so that at d = 0 the gaps are the distances of the planes from the function. A relaxation has two methods:

    enclosure(node, intervals) -> Interval of the node's deviation, from those of its parents
    planes(node, intervals, slopes, hull) -> Planes, where hull is the enclosure from the same intervals; hinges need none

`roundings` is the number of roundings, relative to its result, by which f's evaluation of it may be off; a method `size` gives
the scale if it is not the result. Intervals and planes include the rounding errors of their own formulas where terms cancel.

Unknown intervals are NaN, as those of a logarithm that may be of a number below 0. They make the result unknown, unless the
operation `takes_unknown` by itself, or `takes_overflow`: then only what comes from an operation that `is_partial`, one without a
value at some numbers, is left unknown.

`slopes` chooses among the sound lower slopes of a hinge: "adaptive" (CROWN, Zhang et al. 2018) or "parallel" (Fast-Lin, Weng et
al. 2018; CNN-Cert). Other relaxations ignore it.

Relaxations whose planes alpha-CROWN (Xu et al. 2021) may choose have two methods and two attributes more. Shares in [0, 1] stand
for a choice: one array, or, if the relaxation `has_two_shares`, a pair for the planes below and above.

    adjustable(node, intervals) -> (known, shares): all that planes depend on, a pytree of arrays of the node's shape, and the
        shares of CROWN's planes
    adjusted(known, shares) -> Planes, sound for any shares

`pace` is the step of the optimisation, relative to that of a hinge: the best slope of a hinge is often 0 or 1, and the best
tangent of a curve lies within.

Those of one operand that the verifier may cut have an attribute and three methods more:

    pieces: into how many an interval is cut
    borders(x, interval) -> [pieces - 1, *shape], ascending: the values of the operand between them; x is its trace point
    is_undecided(node, interval): mask of the entries that a cut brings nearer to their planes
    looseness(node, interval, planes): by how much planes may be off, below and above, as a score
"""

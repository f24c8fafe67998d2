"""Non-linear operations between bounds of their operands: an interval, and a plane below and one above. One file per family.

Everything is in deviations from the point where f was traced. For y = phi(x), y0 = phi(x0) and d = x - x0 in an `Interval`,

    lower * d - lower_gap  <=  y - y0  <=  upper * d + upper_gap,

so that at d = 0 the gaps are the distances of the planes from the function. A relaxation has two methods:

    enclosure(node, intervals) -> Interval of the node's deviation, from those of its parents
    planes(node, intervals, slopes) -> Planes

It says by how many roundings, relative to its result, f's evaluation of it is off: `roundings`, and `size` of a curve. What
rounding adds to its own formulas, where terms cancel, is in what it returns.

`slopes` chooses among the sound lower slopes of a hinge: "adaptive" (CROWN, Zhang et al. 2018), "parallel" (Fast-Lin, Weng et al.
2018; CNN-Cert), or an array in [0, 1] (alpha-CROWN, Xu et al. 2021). Other relaxations ignore it.
"""

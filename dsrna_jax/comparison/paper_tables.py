"""The figures of the paper's Tables 1 to 6 (Hosseini, Yang and Xie, CVPR 2021) as printed, and their protocols.

The tables mix trainings: the clean accuracies of Table 2 are not those of the networks that Table 1 attacks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dsrna_jax.search.axes import method_of


class PaperFigure(NamedTuple):
    """A number as the paper prints it, in the unit of its column, with its standard deviation if it has one."""

    value: float
    std: float | None
    table: int


CLEAN, PARAMS, COST = "Test Acc. (%)", "Params (M)", "Search Cost (GPU days)"
FGSM, CW, LINF, L2 = "FGSM", "C&W", "l-infinity certified lower bound", "l2 certified lower bound"
_ATTACKS = ("PGD (10)", "PGD (20)", "PGD (100)", FGSM, CW)
_FEWER = (CLEAN, "PGD (100)", FGSM, CW)
_CERTIFIED_ROWS = ("RobNet-large", "SDARTS-ADV", "PC-DARTS-ADV", "DSRNA-CB", "DSRNA-Jacobian")

_TABLES = {  # number: (data set, columns, rows)
    1: ("cifar10", _ATTACKS, """
        RobNet-large   | 49.49 | 49.44 | 49.24 | 54.98 | 47.19
        RobNet-free    | 52.80 | 52.74 | 52.57 | 58.38 | 46.95
        SDARTS-ADV     | 56.94 ± 0.02 | 56.90 ± 0.04 | 56.77 ± 0.17 | 63.84 ± 0.02 | 42.67 ± 0.09
        PC-DARTS-ADV   | 57.15 ± 0.02 | 57.11 ± 0.05 | 56.83 ± 0.21 | 65.29 ± 0.03 | 42.58 ± 0.04
        DSRNA-CB       | 60.31 ± 0.07 | 60.22 ± 0.11 | 59.93 ± 0.24 | 69.88 ± 0.09 | 63.01 ± 0.07
        DSRNA-Jacobian | 59.81 ± 0.02 | 59.77 ± 0.04 | 59.47 ± 0.14 | 68.92 ± 0.02 | 62.87 ± 0.04"""),
    2: ("cifar10", (CLEAN, PARAMS, COST), """
        NASNet-A        | 97.35 | 3.3 | 1800
        AmoebaNet-B     | 97.45 | 2.8 | 3150
        PNAS            | 96.59 | 3.2 | 255
        ENAS            | 97.11 | 4.6 | 0.5
        DARTS (1st)     | 97.00 ± 0.14 | 3.3 | 1.5
        DARTS (2nd)     | 97.26 ± 0.09 | 3.3 | 4.0
        SNAS (moderate) | 97.15 | 2.8 | 1.5
        ProxylessNAS    | 97.92 | – | 4.0
        ASAP            | 98.01 | 2.5 | 0.2
        R-DARTS (L2)    | 97.05 ± 0.21 | – | 1.6
        DARTS+          | 97.68 | 3.7 | 0.4
        P-DARTS         | 97.50 | 3.4 | 0.3
        PC-DARTS        | 97.43 ± 0.07 | 3.6 | 0.1
        RobNet-large    | 78.57 | 6.9 | –
        RobNet-free     | 82.79 | 5.5 | –
        SDARTS-RS       | 97.33 ± 0.03 | 3.4 | 0.4
        SDARTS-ADV      | 97.39 ± 0.02 | 3.3 | 1.3
        PC-DARTS-ADV    | 97.51 ± 0.04 | 3.5 | 0.4
        DSRNA-CB        | 97.42 ± 0.07 | 3.5 | 4.0
        DSRNA-Jacobian  | 97.50 ± 0.03 | 3.5 | 1.0"""),
    3: ("imagenet2012", _FEWER, """
        RobNet-large   | 61.26 | 37.14 | 39.74 | 25.73
        SDARTS-ADV     | 74.85 ± 0.06 | 46.54 ± 0.13 | 48.09 ± 0.07 | 36.86 ± 0.10
        PC-DARTS-ADV   | 75.73 ± 0.07 | 46.59 ± 0.15 | 48.25 ± 0.08 | 36.69 ± 0.09
        DSRNA-CB       | 75.84 ± 0.11 | 45.39 ± 0.18 | 50.89 ± 0.07 | 43.64 ± 0.19
        DSRNA-Jacobian | 75.88 ± 0.07 | 43.79 ± 0.11 | 48.69 ± 0.04 | 43.17 ± 0.08"""),
    4: ("mnist", _FEWER, """
        RobNet-large   | 90.73 | 87.28 | 89.43 | 69.38
        SDARTS-ADV     | 99.19 ± 0.01 | 97.31 ± 0.02 | 98.67 ± 0.02 | 78.94 ± 0.05
        PC-DARTS-ADV   | 99.21 ± 0.01 | 97.33 ± 0.04 | 98.75 ± 0.01 | 78.93 ± 0.03
        DSRNA-CB       | 99.21 ± 0.03 | 97.34 ± 0.06 | 98.85 ± 0.03 | 94.02 ± 0.08
        DSRNA-Jacobian | 99.36 ± 0.01 | 96.82 ± 0.02 | 98.79 ± 0.01 | 95.37 ± 0.02"""),
}  # fmt: skip
_CERTIFIED = {  # (table, data set, column): a figure for each of _CERTIFIED_ROWS
    (5, "mnist", LINF): (0.0325, 0.0471, 0.0474, 0.0526, 0.0514),
    (5, "cifar10", LINF): (0.0024, 0.0039, 0.0040, 0.0049, 0.0048),
    (6, "mnist", L2): (0.1340, 0.1767, 0.1765, 0.4288, 0.4285),
    (6, "cifar10", L2): (0.0167, 0.0337, 0.0336, 0.0412, 0.0409),
}

# The paper's names of the architectures in `genotypes.zoo`, and of what searches find: by space, metric and order.
ROWS = {
    "NASNet": "NASNet-A",
    "PNAS": "PNAS",
    "DARTS_V1": "DARTS (1st)",
    "DARTS_V2": "DARTS (2nd)",
    "SNAS": "SNAS (moderate)",
    "PDARTS": "P-DARTS",
    "PC_DARTS_cifar": "PC-DARTS",
    "SDARTS_RS": "SDARTS-RS",
    "SDARTS_ADV": "SDARTS-ADV",
    "RobNet_large": "RobNet-large",
    "RobNet_free": "RobNet-free",
}
_DARTS = {"space": "darts", "metric": "none", "order": "first"}
_PC_DARTS = _DARTS | {"space": "pcdarts"}
_SMOOTH = _DARTS | {"space": "s5"}
_SNAS = _DARTS | {"mixture": "gumbel", "levels": 1, "keep": "all", "resource_weight": 1.0}
_ROBNET = _DARTS | {
    "space": "robnet", "strategy": "random", "reward": "pgd_accuracy", "supernet_attack_steps": 7, "fine_tune_steps": 16,
}  # fmt: skip
_SECOND = ("unrolled", "unrolled_fd")  # orders
# The axes (`search.axes`) of the methods of searches; some have several.
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ENAS", _DARTS | {"strategy": "reinforce"}),
    ("NASNet-A", _DARTS | {"strategy": "reinforce", "fine_tune_steps": 14060}),
    ("ProxylessNAS", _DARTS | {"space": "proxyless", "mixture": "binary", "resource_weight": 0.1}),
    ("DARTS (1st)", _DARTS),
    *(("DARTS (2nd)", _DARTS | {"order": order}) for order in _SECOND),
    ("SNAS (moderate)", _SNAS),
    ("ASAP", _DARTS | {"prune_below": 0.4}),
    *(("R-DARTS (L2)", _DARTS | {"order": order, "weight_decays": "3e-4,9e-4,27e-4,81e-4"}) for order in _SECOND),
    ("P-DARTS", _DARTS | {"stages": "5:8:0,11:5:0.4,17:3:0.7", "most_skips": 2}),
    ("DARTS+", _DARTS | {"stop_skips": 2, "stop_stable": 10}),
    ("PC-DARTS", _PC_DARTS),
    ("SDARTS-RS", _SMOOTH | {"perturbation": "uniform"}),
    ("SDARTS-ADV", _SMOOTH | {"perturbation": "adversarial"}),
    ("RobNet-large", _ROBNET),
    ("RobNet-free", _ROBNET | {"cell_free": True, "candidates": 4}),
    ("PC-DARTS-ADV", _PC_DARTS | {"perturbation": "adversarial"}),
    *(("DSRNA-Jacobian", _PC_DARTS | {"metric": "jacobian", "order": order}) for order in _SECOND),
    *(("DSRNA-CB", _PC_DARTS | {"metric": "certified", "order": order}) for order in _SECOND),
)
SEARCHED_ON = {"cifar10": "cifar10", "mnist": "mnist", "imagenet2012": "cifar10"}
"""For each data set of trainings, the data set on which the paper searched the cell: for ImageNet that is CIFAR-10."""

_SIDES = {"cifar10": (0, 32), "mnist": (0, 28), "imagenet2012": (224,)}  # of images; 0 for their own size
_SPLITS = {"cifar10": "test", "mnist": "test", "imagenet2012": "validation"}
_ADVERSARIAL_THROUGHOUT = ("RobNet-large", "RobNet-free")  # published for adversarial training alone


class Protocol(NamedTuple):
    """The protocol of a figure of the paper, as far as the paper states it or leaves no doubt.

    sides: of the images; 0 for their own size.
    split: on which it was measured.
    norm: of the attack's ball; "" without an attack.
    radius: of that ball; None if the paper states none, so that no measured figure is comparable.
    is_adversarial: whether the network was trained adversarially. The paper describes standard training alone, but a network so
      trained has hardly any accuracy under PGD: figures under attack must be of adversarial training.
    """

    dataset: str
    sides: tuple[int, ...]
    split: str
    is_adversarial: bool
    norm: str = ""
    radius: float | None = 0.0


def protocol(title: str, row: str, dataset: str) -> Protocol:
    """The protocol of the figure of a column, row and data set (section 4.3.1 states radii for CIFAR-10 alone)."""
    shared = dataset, _SIDES[dataset], _SPLITS[dataset]
    if title in (FGSM, CW) or title.startswith("PGD"):
        stated = {FGSM: 2 / 255, CW: None}.get(title, 8 / 255) if dataset == "cifar10" else None
        return Protocol(*shared, True, "l2" if title == CW else "linf", stated)
    return Protocol(*shared, row in _ADVERSARIAL_THROUGHOUT and title in (CLEAN, PARAMS))


def method(search: Mapping[str, Any], dataset: str) -> str | None:
    """The paper's name of the method of a search configuration, for trainings on `dataset`; None if it has no such method."""
    searched_on = SEARCHED_ON.get(dataset)
    if searched_on is None or search.get("dataset") != searched_on or search.get("image_size", 0) not in _SIDES[searched_on]:
        return None
    own = method_of(search)
    return next((name for name, axes in METHODS if axes == own), None)


def figures(row: str, dataset: str) -> dict[str, PaperFigure]:
    """The figures of a row for a data set (`cifar10`, `mnist`, `imagenet2012`), by column; empty if the paper has none."""
    row_figures = {}
    for number, (of, columns, text) in _TABLES.items():
        for line in text.strip().splitlines() if of == dataset else ():
            name, *values = (part.strip() for part in line.split("|"))
            if name == row:
                row_figures |= {c: _printed(v, number) for c, v in zip(columns, values, strict=True) if v != "–"}
    for (number, of, column), values in _CERTIFIED.items():
        if of == dataset and row in _CERTIFIED_ROWS:
            row_figures[column] = PaperFigure(values[_CERTIFIED_ROWS.index(row)], None, number)
    return row_figures


def rows(table: int) -> list[str]:
    """The rows of a table, in the paper's order."""
    if table not in _TABLES:
        return list(_CERTIFIED_ROWS)
    return [line.split("|")[0].strip() for line in _TABLES[table][2].strip().splitlines()]


def _printed(text: str, table: int) -> PaperFigure:
    value, _, std = text.partition(" ± ")
    return PaperFigure(float(value), float(std) if std else None, table)

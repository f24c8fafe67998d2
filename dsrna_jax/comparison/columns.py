"""The columns of a comparison: measures of a run, each with its images, settings and budget."""

from typing import Any, NamedTuple

from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.runs import NOT_RECORDED, STOPPED, FinishedTraining, FoundBy
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.certify.config import SMOOTHING, VERIFY, CertificationConfig, is_exact

MULTIPLY_ADDS, SMOOTHED = "Mult-adds (M)", "l2 radius of the smoothed network"
CPU_COST, OTHER_COST = "Search time (days on a CPU)", "Search time (days)"
WORST = "worst case"  # the name of a row in attack.json
COSTS = (COST, CPU_COST, OTHER_COST)
RADIUS_TITLES = (LINF, L2, SMOOTHED)
NOT_ACCURACIES = (*RADIUS_TITLES, PARAMS, MULTIPLY_ADDS, *COSTS)
_TITLES = {"C&W-l2": CW, **{f"PGD-{n}": f"PGD ({n})" for n in (10, 20, 100)}}


class Images(NamedTuple):
    """A set of images: all of a split (seed None), or `count` of them drawn by `seed`; count 0 is unknown."""

    split: str
    count: int = 0
    seed: int | None = None

    def __str__(self) -> str:
        if self.seed is None:
            return f"all {self.count:,} {self.split} images" if self.count else f"{self.split} images"
        return f"{self.count:,} {self.split} images" + (f" drawn by seed {self.seed}" if self.seed else "")


class Column(NamedTuple):
    """A measure with everything that makes two numbers comparable.

    title: as in the paper's tables, if they have it.
    norm, radius: of an attack's ball.
    how: the method of bounds, the type of maps under attack if it is not the usual one, or the devices of a search.
    images: over which the measure is a mean.
    budget: of the attack or the certificate, in words.
    """

    title: str
    norm: str = ""
    radius: float = 0.0
    how: str = ""
    images: Images | None = None
    budget: str = ""

    @property
    def settings(self) -> str:
        """All fields except title and budget, as text."""
        ball = f"{self.norm} {pixels(self.radius, self.norm)}" if self.norm else ""
        return "; ".join(filter(None, (ball, self.how, "" if self.images is None else str(self.images))))


def run_measures(run: FinishedTraining) -> dict[Column, float]:
    """All measures of a run, in the units of the paper's tables: accuracies in per cent, sizes in millions, cost in days.

    Each measure on a set of images has the clean accuracy on the same images beside it.
    """
    measures = {Column(PARAMS): run.weights / 1e6, Column(MULTIPLY_ADDS): run.multiply_adds / 1e6}
    if run.search and STOPPED not in run.search.config:  # the cost of a whole search is known if it ended
        measures |= dict([_cost(run.search)])
    for result in reversed(run.certificates):
        measures[Column(CLEAN, images=_images(result, run))] = 100 * result["clean"]["accuracy"]
        if result["radius"]["mean"] is not None:
            measures[radius_column(result, run)] = result["radius"]["mean"]
    for result in reversed(run.attacks):
        measures[Column(CLEAN, how=_maps(result), images=_images(result, run))] = 100 * result["clean"]["accuracy"]
        for row in result["rows"]:
            measures[_attack_column(row, result, run)] = 100 * row["accuracy"]
    if test := _test(run):
        measures[Column(CLEAN, images=Images(test["split"], test["images"]))] = 100 * test["accuracy"]
    return measures


def _test(run: FinishedTraining) -> dict[str, Any] | None:
    return run.result["test"] if run.result else None


def _images(result: dict[str, Any], run: FinishedTraining) -> Images:
    """The images of an attack.json or certify.json."""
    config, test = result["config"], _test(run)
    split, count = config["split"], result["examples"]
    is_all = config.get("examples") == 0 or (test is not None and (split, count) == (test["split"], test["images"]))
    return Images(split, count, None if is_all else config.get("seed", 0))


def _attack_column(row: dict[str, Any], result: dict[str, Any], run: FinishedTraining) -> Column:
    name: str = row["name"]
    title = FGSM if name.startswith("FGSM") else _TITLES.get(name, name)
    budget: str = row["budget"]
    if name == WORST:  # the worst of other attacks would be another measure
        ball = row["norm"], row["radius"]
        others = [r for r in result["rows"] if (r["norm"], r["radius"]) == ball and r["name"] != WORST]
        budget = "the worst of " + ", ".join("{name} ({budget})".format(**other) for other in others)
    return Column(title, row["norm"], row["radius"], _maps(result), _images(result, run), budget)


def _maps(result: dict[str, Any]) -> str:
    """The type of the maps in the network of an attack.json, unless it is the usual one."""
    precision = result["config"].get("precision", "float32")
    return "" if precision == "float32" else f"maps in {precision}"


def radius_column(result: dict[str, Any], run: FinishedTraining) -> Column:
    """The column of the certified radii in a certify.json."""
    config, method, images = result["config"], result["method"], _images(result, run)
    if method == SMOOTHING:
        budget = f"n0 {config['n0']}, n {config['n']}, alpha {config['alpha']:g}"
        return Column(SMOOTHED, how=f"smoothing, sigma {config['sigma']:g}", images=images, budget=budget)
    budget = "perturbed pixels stay in [0, 1]" if config["clip"] else "perturbed pixels may leave [0, 1]"
    budget += f"; up to {_setting(config, 'tries')} radii tried"
    if method == VERIFY:
        budget += f", {_setting(config, 'timeout'):g} s for each"
    how = f"{method}, exact arithmetic" if is_exact(result) else method
    return Column({"linf": LINF, "l2": L2}[result["norm"]], how=how, images=images, budget=budget)


def _setting(config: dict[str, Any], name: str) -> Any:
    """A setting of a certification; that of a version without the option was as its default is."""
    return config.get(name, CertificationConfig.__dataclass_fields__[name].default)


def _cost(search: FoundBy) -> tuple[Column, float]:
    """The cost of a search: days times the number of GPUs, or days on a CPU or other devices, which are named."""
    kinds, days = {part.kind for part in search.parts}, sum(part.seconds for part in search.parts) / 86400
    how = ", then ".join(dict.fromkeys(part.device for part in search.parts))
    if kinds == {"cpu"}:
        return Column(CPU_COST, how=how), days
    if not any(kind == "cpu" or kind.startswith(("TPU", NOT_RECORDED)) for kind in kinds):
        return Column(COST, how=how), sum(part.count * part.seconds for part in search.parts) / 86400
    return Column(OTHER_COST, how=how), days


def ordered(columns: set[Column]) -> list[Column]:
    """Columns in the order of the paper; other attacks follow those of the paper."""
    first, last = [CLEAN, "PGD (10)", "PGD (20)", "PGD (100)", FGSM, CW], [LINF, L2, SMOOTHED, PARAMS, MULTIPLY_ADDS, *COSTS]
    titles = [*first, *sorted({column.title for column in columns} - {*first, *last}), *last]

    def place(column):
        count = column.images.count if column.images else 0
        return titles.index(column.title), -count, column.norm, column.radius, column.how, str(column.images), column.budget

    return sorted(columns, key=place)

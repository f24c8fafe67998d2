"""A figure of the paper stands beside ours where its protocol matches, and nowhere else."""

from itertools import combinations
from pathlib import Path

import pytest
from compared_runs import cell, table_of
from linear_run import TINY

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.comparison import names, paper_tables
from dsrna_jax.comparison.columns import Column, Images
from dsrna_jax.comparison.paper_rows import PAPER_COST, with_paper_rows
from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.comparison.runs import FinishedTraining, FoundBy
from dsrna_jax.evaluation.attack.budgets import pgd_row
from dsrna_jax.genotypes import zoo
from dsrna_jax.search.axes import method_of
from dsrna_jax.training.config import TrainingConfig


def test_published_cells_have_the_papers_row_of_their_data_set_alone(runs):
    cifar = table_of(runs.make("a", genotype="PC_DARTS_cifar", dataset="cifar10")).rows
    assert [cell(cifar[1], title)[:2] for title in (CLEAN, PARAMS, COST)] == [(97.43, 0.07), (3.6, None), (0.1, None)]
    assert len(table_of(runs.make("b", genotype="PC_DARTS_cifar", dataset="digits")).rows) == 1


def every_figure():
    """(row, data set, title) of all figures in the tables."""
    names = sorted({*paper_tables.ROWS.values(), *dict(paper_tables.METHODS)})
    return [
        (name, data, title) for name in names for data in paper_tables.SEARCHED_ON for title in paper_tables.figures(name, data)
    ]


def matched(row, dataset, title, run_of, /, **changes):
    """The figures of that title that stand beside a run of that method, measured by the figure's protocol but for `changes`."""
    wanted = paper_tables.protocol(title, row, dataset)
    of_run = {"dataset": dataset, "image_size": max(wanted.sides), "adversarial": "pgd" if wanted.is_adversarial else "none"}
    of_run |= {name: value for name, value in changes.items() if name in of_run}
    ball = {"norm": wanted.norm, "radius": wanted.radius or 0.0}
    split = changes.get("split", wanted.split)
    ball = {name: changes.get(name, value) for name, value in ball.items()}
    starts = changes.get("restarts", 1)
    budget = pgd_row(10, 0.1, "linf", starts).budget if title.startswith("PGD") else ""
    column = Column(title, **ball, images=Images(split, 100, 0), budget=budget)
    if title == COST:
        column = PAPER_COST
    elif title == PARAMS:
        column = Column(PARAMS)
    both = with_paper_rows([ComparisonRow("ours", (run_of(row, **of_run),), {})], [column])
    return [printed.cells[column].value for printed in both[1:] if column in printed.cells]


@pytest.fixture
def run_of():
    """(paper's name, configuration of the training) -> the finished training of a cell of that name."""
    zoo_names = {name: genotype for genotype, name in paper_tables.ROWS.items()}
    methods = dict(paper_tables.METHODS)

    def run(row, **config):
        search, genotype = None, zoo_names.get(row)
        if genotype is None:
            searched_on = paper_tables.SEARCHED_ON[config["dataset"]] if config["dataset"] in paper_tables.SEARCHED_ON else ""
            search = FoundBy(Path("s"), methods[row] | {"dataset": searched_on}, ())
        config = TrainingConfig(genotype=genotype or "s", **config)
        return FinishedTraining(Path("r"), config, TINY, 1, 1, None, [], [], [], search)

    return run


@pytest.mark.parametrize("dataset", paper_tables.SEARCHED_ON)
@pytest.mark.parametrize("row", sorted({row for row, _, _ in every_figure()}))
def test_a_figure_of_the_paper_stands_where_all_matches_and_nowhere_else(run_of, row, dataset):
    """Norm, stated radius, data set and its size, split, adversarial or not: another of any of them gives a dash."""
    for title, figure in paper_tables.figures(row, dataset).items():
        wanted = paper_tables.protocol(title, row, dataset)
        assert matched(row, dataset, title, run_of) == ([] if wanted.radius is None else [figure.value]), title
        changes = [{"image_size": 24}, {"adversarial": "none" if wanted.is_adversarial else "fast"}]
        if title not in (PARAMS, COST):
            changes += [{"split": split} for split in ("train", "held_out", "test[:50%]", "train[:10]")]
        if wanted.norm:
            changes += [{"restarts": 5}] if title.startswith("PGD") else []
            changes += [{"norm": "l2" if wanted.norm == "linf" else "linf"}]
            changes += [{"radius": radius} for radius in (0.5, 0.03, 0.01, 1 / 255, 4 / 255, (wanted.radius or 0.1) + 1e-4)]
        for other in {"digits", "svhn_cropped", *paper_tables.SEARCHED_ON} - {dataset}:
            for size in (0, 28, 32, 224):
                changes.append({"dataset": other, "image_size": size})
        for change in changes:
            beside = matched(row, dataset, title, run_of, **change)
            elsewhere = paper_tables.figures(row, change["dataset"]).get(title) if "dataset" in change else None
            assert beside in ([], [elsewhere and elsewhere.value]) and figure.value not in beside, (title, change)


def test_c_and_w_and_attacks_on_mnist_and_imagenet_have_no_stated_radius():
    assert all(paper_tables.protocol(CW, row, data).radius is None for row, data, title in every_figure() if title == CW)
    unstated = {
        data for _, data, title in every_figure() if title == FGSM and paper_tables.protocol(FGSM, "", data).radius is None
    }
    assert unstated == {"mnist", "imagenet2012"}
    assert paper_tables.protocol(FGSM, "DSRNA-CB", "cifar10").radius == 2 / 255
    assert paper_tables.protocol("PGD (20)", "DSRNA-CB", "cifar10").radius == 8 / 255


def test_robnet_is_adversarial_in_every_column():
    """Its 78.57 % and 82.79 % stand in Table 2 among accuracies of standard training."""
    assert paper_tables.protocol(CLEAN, "RobNet-free", "cifar10").is_adversarial
    assert not paper_tables.protocol(CLEAN, "DSRNA-CB", "cifar10").is_adversarial


def test_figures_are_those_printed_in_the_paper():
    assert all(name in zoo.names() for name in paper_tables.ROWS)
    assert paper_tables.figures("DSRNA-CB", "cifar10") == {
        "PGD (10)": (60.31, 0.07, 1),
        "PGD (20)": (60.22, 0.11, 1),
        "PGD (100)": (59.93, 0.24, 1),
        FGSM: (69.88, 0.09, 1),
        CW: (63.01, 0.07, 1),
        CLEAN: (97.42, 0.07, 2),
        PARAMS: (3.5, None, 2),
        COST: (4.0, None, 2),
        LINF: (0.0049, None, 5),
        L2: (0.0412, None, 6),
    }
    assert paper_tables.figures("RobNet-large", "mnist")[L2].value == 0.134
    assert paper_tables.figures("DSRNA-Jacobian", "imagenet2012")["PGD (100)"] == (43.79, 0.11, 3)
    assert COST not in paper_tables.figures("RobNet-large", "cifar10")
    for name in (*paper_tables.ROWS.values(), *dict(paper_tables.METHODS)):
        assert CLEAN in paper_tables.figures(name, "cifar10")
        assert paper_tables.figures(name, "digits") == {}


ROWS_OF_PRESETS = {
    "darts_first": "DARTS (1st)", "darts_second": "DARTS (2nd)", "pcdarts": "PC-DARTS", "cifar10_snas": "SNAS (moderate)",
    "cifar10_rdarts_l2": "R-DARTS (L2)", "cifar10_pdarts": "P-DARTS", "cifar10_asap": "ASAP", "cifar10_darts_plus": "DARTS+",
    "cifar10_sdarts_rs": "SDARTS-RS", "cifar10_sdarts_adv": "SDARTS-ADV", "cifar10_pcdarts_adv": "PC-DARTS-ADV",
    "cifar10_robnet": "RobNet-large", "cifar10_robnet_free": "RobNet-free", "cifar10_dsrna_jacobian": "DSRNA-Jacobian",
    "cifar10_dsrna_cb": "DSRNA-CB", "cifar10_enas": "ENAS", "cifar10_nasnet": "NASNet-A", "cifar10_proxyless": "ProxylessNAS",
}  # fmt: skip
OF_CIFAR10 = {name: vars(preset) for name, preset in PRESETS.items() if preset.dataset == "cifar10"}


@pytest.mark.parametrize("name", OF_CIFAR10)
def test_a_search_has_the_papers_row_of_its_own_method_and_of_no_other(name):
    assert paper_tables.method(OF_CIFAR10[name], "cifar10") == ROWS_OF_PRESETS.get(name)
    assert paper_tables.method(OF_CIFAR10[name] | {"metric": "jacobian", "order": "first"}, "cifar10") is None


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_the_axes_tell_the_methods_of_all_presets_apart(dataset):
    presets = {name: preset for name, preset in PRESETS.items() if preset.dataset == dataset and name != "smoke"}
    found = {name: method_of(vars(preset)) for name, preset in presets.items()}
    assert {(a, b) for a, b in combinations(found, 2) if found[a] == found[b]} == set()


def test_a_search_of_an_earlier_version_is_of_its_method():
    search = {"space": "darts", "metric": "none", "order": "first", "dataset": "cifar10"}
    assert paper_tables.method(search, "cifar10") == "DARTS (1st)"


def test_rows_name_the_axes_of_their_search():
    search = FoundBy(Path("s"), OF_CIFAR10["cifar10_pcdarts_adv"], ())
    run = FinishedTraining(Path("r"), TrainingConfig(genotype="s"), TINY, 1, 1, None, [], [], [], search)
    (name,) = names.names([[run]])
    assert name.startswith("pcdarts, none, first, perturbation adversarial, searched on cifar10")

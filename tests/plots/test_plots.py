import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.text import Text

from dsrna_jax import plots
from dsrna_jax.comparison import page
from dsrna_jax.genotypes.dense_genotype import DenseGenotype
from dsrna_jax.genotypes.derivation import derive
from dsrna_jax.genotypes.genotype import CELL_TYPES, Genotype, edge_count, edges
from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES
from dsrna_jax.plots import canvas
from dsrna_jax.plots.layout import CellLayout
from dsrna_jax.search.loop import OPTIONAL

# NASNet-A and DARTS_V2 as in darts/cnn/genotypes.py:16 and :75; NASNet has two edges between the same nodes, twice.
NASNET = Genotype(
    normal=(("sep_conv_5x5", 1), ("sep_conv_3x3", 0), ("sep_conv_5x5", 0), ("sep_conv_3x3", 0), ("avg_pool_3x3", 1),
            ("skip_connect", 0), ("avg_pool_3x3", 0), ("avg_pool_3x3", 0), ("sep_conv_3x3", 1), ("skip_connect", 1)),
    normal_concat=(2, 3, 4, 5, 6),
    reduction=(("sep_conv_5x5", 1), ("sep_conv_7x7", 0), ("max_pool_3x3", 1), ("sep_conv_7x7", 0), ("avg_pool_3x3", 1),
               ("sep_conv_5x5", 0), ("skip_connect", 3), ("avg_pool_3x3", 2), ("sep_conv_3x3", 2), ("max_pool_3x3", 1)),
    reduction_concat=(4, 5, 6),
)  # fmt: skip
DARTS_V2 = Genotype(
    normal=(("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)),
    normal_concat=(2, 3, 4, 5),
    reduction=(("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
               ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)),
    reduction_concat=(2, 3, 4, 5),
)  # fmt: skip
SKIPS = Genotype((("skip_connect", 0), ("skip_connect", 1)) * 4, (5,), (("skip_connect", 1),) * 8, (2, 5))
ROW = {
    "epoch": 0, "train_loss": 2.0, "val_loss": 2.1, "train_accuracy": 0.5, "val_accuracy": 0.4, "robustness": -30.0,
    "gamma_times_robustness": -0.3, "skips_normal": 2, "skips_reduction": 0, "learning_rate": 0.1,
}  # fmt: skip


@st.composite
def genotypes(draw):
    steps = draw(st.integers(1, 5))
    names = st.sampled_from(list(OPERATIONS))
    nodes = st.lists(st.integers(2, steps + 1), min_size=1, unique=True)
    cells = [[(draw(names), draw(st.integers(0, gene // 2 + 1))) for gene in range(2 * steps)] for _ in CELL_TYPES]
    return Genotype(cells[0], draw(nodes), cells[1], draw(nodes))


def history_of(steps, epochs, edge_logits):
    random = np.random.default_rng(0)
    shapes = {name: (edge_count(steps), len(PRIMITIVES)) for name in CELL_TYPES}
    if edge_logits:
        shapes |= {f"{name}_edges": (edge_count(steps),) for name in CELL_TYPES}
    return [{name: random.standard_normal(shape) for name, shape in shapes.items()} for _ in range(epochs)]


def boxes(figure, kind, gene=None):
    """Extents in pixels of the patches of a kind; `gene` chooses between those of genes and the others."""
    renderer = figure.canvas.get_renderer()
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, kind)]
    return [p.get_window_extent(renderer) for p in patches if gene is None or (p.get_gid() == "gene") == gene]


def check_drawing(figure, genes):
    renderer = figure.canvas.get_renderer()
    axes = figure.axes[0]
    texts = [text for text in axes.texts if text.get_gid() == "gene"]
    assert sorted(text.get_text() for text in texts) == sorted(name for name, *_ in genes)
    labels = boxes(figure, FancyBboxPatch, gene=True)
    assert len(labels) == len(genes)
    others = boxes(figure, FancyBboxPatch, gene=False) + boxes(figure, Circle)
    for label, text in zip(labels, texts, strict=True):
        assert all(label.contains(*corner) for corner in text.get_window_extent(renderer).corners())
        assert all(figure.bbox.contains(*corner) for corner in label.corners())
        assert not any(label.overlaps(other) for other in others)
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))
    # Edges end at the sides of labels, and nothing runs through one.
    inner = [label.padded(-2) for label in labels]
    for edge in axes.patches:
        if isinstance(edge, PathPatch):
            (line,) = edge.get_transform().transform_path(edge.get_path()).to_polygons(closed_only=False)
            steps = np.linspace(0, len(line) - 1, 400)
            points = np.stack([np.interp(steps, np.arange(len(line)), line[:, axis]) for axis in (0, 1)], axis=1)
            assert not any(label.count_contains(points) for label in inner)


@pytest.mark.parametrize("genotype", [NASNET, DARTS_V2, SKIPS])
@pytest.mark.parametrize("name", CELL_TYPES)
def test_every_gene_has_its_own_label(genotype, name):
    check_drawing(plots.cell(genotype, name), getattr(genotype, name))


@settings(deadline=None, max_examples=4)
@given(st.lists(st.sampled_from(["none", "skip_connect", "sep_conv_5x5"]), min_size=28, max_size=28))
def test_cells_in_which_no_edge_is_pruned_are_drawn_likewise(names):
    names = [name if source > 0 else "skip_connect" for name, (source, _) in zip(names, 2 * edges(4), strict=True)]
    genotype = DenseGenotype(names[:14], names[14:])
    check_drawing(plots.cells(genotype), genotype.genes("normal") + genotype.genes("reduction"))


@settings(deadline=None, max_examples=10)
@given(genotypes())
def test_labels_and_edges_never_overlap(genotype):
    check_drawing(plots.cells(genotype, title="any"), genotype.normal + genotype.reduction)


def test_layout_has_the_fewest_crossings():
    layout = CellLayout([("skip_connect", source, target) for target, source in ((2, 0), (2, 0), (3, 1), (3, 1))])
    assert layout.rows[2:] == [0, 1]
    # In DARTS_V2 both inputs feed three nodes at the same depth: three crossings at least.
    layout = CellLayout(DARTS_V2.genes("normal"))
    assert 3 <= layout._cost(layout.rows, layout.lanes) < 4


def test_only_the_reduction_cell_mentions_strides():
    said = {name: " ".join(text.get_text() for text in plots.cell(DARTS_V2, name).axes[0].texts) for name in CELL_TYPES}
    assert "stride 2" in said["reduction"] and "stride" not in said["normal"]


def drawn(which, path, width=1500):
    """A picture of each sort, by its name."""
    if which == "cells":
        return plots.cells(NASNET, path, title="NASNet", width=width)
    if which == "cell":
        return plots.cell(SKIPS, "normal", path, width=width)
    if which == "alphas":
        return plots.alphas_over_time(range(3), history_of(2, 3, True), path, warmup=1, title="alphas", width=width)
    return plots.search_curves([ROW, {**ROW, "epoch": 1}], path, title="curves", warmup=1, width=width)


@pytest.mark.parametrize("which", ["cells", "cell", "alphas", "curves"])
def test_pictures_have_the_width_asked_for_and_equal_bytes(which, tmp_path):
    drawn(which, tmp_path / "one.png")
    drawn(which, str(tmp_path / "two.png"))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = imread(tmp_path / "one.png")
    assert picture.shape[1] == 1500 and np.ptp(picture[..., :3]) > 0.5
    drawn(which, tmp_path / "one.png", width=1001)
    assert imread(tmp_path / "one.png").shape[1] == 1001
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize("text", ["$a", "a$b$", "$\\frac$", "\\$", "x^2_{", "run \N{ROCKET}", "\udcff", "a\nb", "100 %"])
def test_names_of_runs_and_classes_are_drawn_as_they_are(text, tmp_path, recwarn):
    pictures = np.zeros((1, 4, 4, 1))
    figure = plots.attacked_images(pictures, pictures, [text], [text], tmp_path / "a.png", title=text, note=text)
    axes = figure.add_axes((0, 0, 0.1, 0.1), xscale="log", yticks=[0], yticklabels=[text.replace("\udcff", "")])
    axes.plot([1, 1000], [0, 1], label=text)
    axes.legend()
    canvas.save(figure, tmp_path / "b.png")
    page._figure(text.replace("\udcff", ""), figure, "")
    assert not recwarn.list and "mathdefault" in axes.get_xticklabels()[0].get_text()
    assert axes.get_xticklabels()[0].get_parse_math() and not axes.get_yticklabels()[0].get_parse_math()


@pytest.mark.parametrize("which", ["cells", "cell", "alphas", "curves"])
def test_labels_of_pictures_hold_no_formula_since_text_is_drawn_as_it_is(which, tmp_path):
    figure = drawn(which, tmp_path / "a.png")
    texts = [text for text in figure.findobj(Text) if "\\mathdefault" not in text.get_text()]
    assert texts and not [text.get_text() for text in texts if "$" in text.get_text()]


def test_eigenvalues_are_joined_over_the_epochs_without_one():
    rows = [{**ROW, "epoch": i, "eigenvalue": None if i % 2 else 0.1 * i} for i in range(12)]
    (axes,) = [axes for axes in plots.search_curves(rows).axes if "eigenvalue" in axes.get_title("left")]
    assert axes.lines[0].get_xdata().tolist() == [0, 2, 4, 6, 8, 10] and axes.lines[0].get_marker() == "o"
    rows.insert(6, {"epoch": 5.5})
    (axes,) = [axes for axes in plots.search_curves(rows, marks={5.5: "a"}).axes if "eigenvalue" in axes.get_title("left")]
    assert np.isnan(axes.lines[0].get_ydata()).tolist() == [False] * 3 + [True] + [False] * 3


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "cell.png"
    figure = plots.cell(DARTS_V2, "normal", path)
    before = path.read_bytes()

    def disk_full(self, file, **_):
        Path(file).write_bytes(b"half a picture")
        raise OSError("no space left on device")

    monkeypatch.setattr(canvas.FigureCanvasAgg, "print_png", disk_full)
    with pytest.raises(OSError, match="no space"):
        plots.save(figure, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("nodes", "edge_logits"), [(3, False), (4, True)])
def test_alphas_have_a_panel_for_each_edge(nodes, edge_logits):
    history = history_of(nodes, 5, edge_logits)
    figure = plots.alphas_over_time(range(5), history)
    assert len(figure.axes) == 2 * edge_count(nodes)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert {len(axes.lines) for axes in figure.axes} == {len(PRIMITIVES) + edge_logits}
    titles = [(*axes.get_title("left").split("\u2192"), axes.get_title("right")) for axes in figure.axes]
    kept = [title for title in titles if title[2]]
    genotype = derive(history[-1])
    wanted = [
        (str(source), str(index // 2 + 2), name)
        for cell in CELL_TYPES
        for index, (name, source) in enumerate(getattr(genotype, cell))
    ]
    assert sorted(kept) == sorted(wanted)
    mixtures = np.stack([line.get_ydata()[-1] for line in figure.axes[0].lines[: len(PRIMITIVES)]])
    np.testing.assert_allclose(mixtures.sum(), 1)


def test_equal_edge_weights_are_drawn_level_with_equal_mixtures():
    even = {name: np.zeros((14, 8)) for name in CELL_TYPES} | {f"{name}_edges": np.zeros(14) for name in CELL_TYPES}
    figure = plots.alphas_over_time([1, 2], [even, even])
    np.testing.assert_allclose([line.get_ydata() for axes in figure.axes for line in axes.lines], 0.125)


def shaded(figure):
    """The right end of the shading in each panel."""
    return [patch.get_x() + patch.get_width() for axes in figure.axes for patch in axes.patches]


def test_only_the_warmup_is_shaded():
    history = history_of(1, 6, False)
    assert shaded(plots.alphas_over_time(range(6), history)) == []
    assert shaded(plots.alphas_over_time(range(6), history, warmup=2)) == [1.5] * 4
    assert shaded(plots.alphas_over_time(range(6), history, warmup=15)) == [5.5] * 4
    rows = [{**ROW, "epoch": epoch} for epoch in range(6)]
    assert shaded(plots.search_curves(rows, warmup=2)) == [1.5] * 4


def headings(figure):
    return [axes.get_title("left") for axes in figure.axes]


def test_panels_without_numbers_are_omitted():
    everything = ["loss", "accuracy", "robustness", "skip connections"]
    assert headings(plots.search_curves([ROW])) == everything
    assert headings(plots.search_curves([{**ROW, "robustness": None}])) == ["loss", "accuracy", "skip connections"]
    assert headings(plots.search_curves([{"epoch": 3, "val_loss": 1.0}])) == ["loss"]
    gaps = [ROW, {"epoch": 1}, {**ROW, "epoch": 2, "val_loss": float("nan"), "train_accuracy": None}]
    assert headings(plots.search_curves(gaps)) == everything
    for rows in ([], [{"epoch": 0}], [{"val_loss": 1.0}]):
        assert headings(plots.search_curves(rows)) == []


def test_search_curves_show_radius_and_accuracy_of_certificates():
    rows = [
        {**ROW, "radius": 1e-50, "radius_certifying_50": 1e-12},
        {**ROW, "epoch": 1, "radius": 1e-20, "certified_accuracy": 0.25, "radius_certifying_50": 1e-9},
    ]
    figure = plots.search_curves(rows)
    assert headings(figure) == [
        "loss",
        "accuracy",
        "robustness",
        "radius of the certificates",
        "certified accuracy of the supernet",
        "skip connections",
    ]
    lines = {line.get_label(): line.get_ydata() for axes in figure.axes for line in axes.lines}
    assert lines["certified at the radius"][1] == 25 and list(lines["current"]) == [1e-50, 1e-20]
    assert figure.axes[3].get_yscale() == figure.axes[4].get_yscale() == "log" and lines["50 % certified"][1] == 1e-9


@pytest.mark.parametrize("name", [*OPTIONAL, "temperature", "operations_left", "eigenvalue", "radius", "skips_blocks"])
def test_a_number_that_some_searches_have_gets_a_panel(name):
    (axes,) = plots.search_curves([{"epoch": 0, name: 1.0}, {"epoch": 1, name: 3.0}]).axes
    (line,) = axes.lines
    assert line.get_ydata()[1] == pytest.approx(3 * line.get_ydata()[0]) and axes.get_title("left") and axes.get_ylabel()


def test_marks_are_lines_in_every_panel_and_words_in_the_first():
    figure = plots.search_curves([ROW, {**ROW, "epoch": 9}], marks={4.5: "stage 2 begins"})
    lines = [line for axes in figure.axes for line in axes.lines if set(line.get_xdata()) == {4.5}]
    assert len(lines) == len(figure.axes) == 4 and "stage 2 begins" in figure.axes[0].get_legend_handles_labels()[1]


def test_curves_show_numbers_in_their_units():
    figure = plots.search_curves([ROW, {**ROW, "epoch": 1}], metric="-row_l2")
    lines = {(axes.get_title("left"), line.get_label()): line.get_ydata()[0] for axes in figure.axes for line in axes.lines}
    assert lines["loss", "search_val"] == 2.1
    assert lines["accuracy", "search_train"] == 50
    (objective,) = [value for (_, label), value in lines.items() if "minimise" in label]
    assert objective == pytest.approx(2.4)
    assert figure.axes[2].get_ylabel() == "-row_l2"


def test_every_operation_has_a_colour_of_its_own():
    assert len({operation.colour for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_pyplot_is_not_imported(tmp_path):
    code = (
        "import sys; from dsrna_jax import plots; from dsrna_jax import genotypes as g;"
        "cell = (('skip_connect', 0), ('skip_connect', 1));"
        f"plots.cells(g.Genotype(cell, (2,), cell, (2,)), {str(tmp_path / 'cells.png')!r});"
        f"plots.search_curves([{{'epoch': 0, 'val_loss': 1.0}}], {str(tmp_path / 'curves.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True).stdout == b"False\n"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("values", "scale"), [((1e-4, 0.1), "log"), ((0.0, 1e-4, 0.1), "symlog"), ((0.0, 0.0), "linear")])
def test_every_row_is_in_view_on_an_axis_of_powers(values, scale, tmp_path):
    names = [f"row {index}" for index in range(len(values))]
    points = {name: ((value, value, value), (50.0, 40.0, 60.0)) for name, value in zip(names, values, strict=True)}
    measures = {"radius": [(value, np.nan) for value in values]}
    for figure in (plots.compared_points(points, "x", "y", True), plots.compared_measures(names, measures, "radius", True)):
        figure.savefig(tmp_path / "figure.png")
        (axes,) = figure.axes
        places = axes.transAxes.inverted().transform(axes.transData.transform([(value, axes.get_ylim()[0]) for value in values]))
        assert axes.get_xscale() == scale and ((0 <= places[:, 0]) & (places[:, 0] <= 1)).all()

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrna_jax import genotypes as g
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.operations import OPERATIONS

# darts/cnn/genotypes.py:74-75 and PC-DARTS/genotypes.py:78, as published.
DARTS_V1 = {
    "normal": [("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 0), ("sep_conv_3x3", 1),
               ("skip_connect", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 2)],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 0),
               ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("avg_pool_3x3", 0)],
    "reduce_concat": [2, 3, 4, 5],
}  # fmt: skip
DARTS_V2 = {
    "normal": [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
               ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
               ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)],
    "reduce_concat": [2, 3, 4, 5],
}  # fmt: skip
PC_DARTS_CIFAR = {
    "normal": [("sep_conv_3x3", 1), ("skip_connect", 0), ("sep_conv_3x3", 0), ("dil_conv_3x3", 1),
               ("sep_conv_5x5", 0), ("sep_conv_3x3", 1), ("avg_pool_3x3", 0), ("dil_conv_3x3", 1)],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [("sep_conv_5x5", 1), ("max_pool_3x3", 0), ("sep_conv_5x5", 1), ("sep_conv_5x5", 2),
               ("sep_conv_3x3", 0), ("sep_conv_3x3", 3), ("sep_conv_3x3", 1), ("sep_conv_3x3", 2)],
    "reduce_concat": [2, 3, 4, 5],
}  # fmt: skip
PUBLISHED = [DARTS_V1, DARTS_V2, PC_DARTS_CIFAR]


@st.composite
def genotypes(draw):
    nodes = draw(st.integers(1, 5))
    names = st.sampled_from(list(OPERATIONS))
    concats = st.lists(st.integers(2, nodes + 1), min_size=1, unique=True)
    cells = [[(draw(names), draw(st.integers(0, gene // 2 + 1))) for gene in range(2 * nodes)] for _ in g.CELL_TYPES]
    return g.Genotype(cells[0], draw(concats), cells[1], draw(concats))


def test_edges_are_counted_and_ordered_as_in_darts():
    assert g.edges(3) == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
    assert [g.edge_count(nodes) for nodes in range(1, 6)] == [2, 5, 9, 14, 20]
    assert all(len(g.edges(nodes)) == g.edge_count(nodes) for nodes in range(1, 8))


@given(genotypes())
def test_json_gives_back_the_same_genotype(genotype):
    text = json.dumps(g.to_json(genotype))
    assert g.from_json(text) == g.from_json(json.loads(text)) == genotype


@given(genotypes())
def test_darts_text_gives_back_the_same_genotype(genotype):
    text = g.to_darts(genotype)
    assert "\n" not in text and g.from_darts(text) == genotype
    scope = {"Genotype": lambda **fields: fields}  # as DARTS's code reads it
    assert g.from_json(eval(text, scope)) == genotype


def test_darts_text_is_read_as_its_code_is_written(tmp_path):
    """With names, ranges and calls of other functions around it, in a file, and by --genotype."""
    genes = "[('skip_connect', 0), ('none', 1), ('sep_conv_3x3', 2), ('max_pool_3x3', 0)]"
    bare = f"Genotype({genes}, range(2, 4), reduce={genes}, reduce_concat=[3])"
    module = f"import collections\nGenotype = collections.namedtuple('Genotype', 'normal')\nNAME = (\n  genotypes.{bare})\n"
    listed = f"Genotype(normal={genes}, reduce={genes}, normal_concat=list(range(2, 4)), reduce_concat=[3])"
    (tmp_path / "cells.py").write_text(module)
    expected = g.from_darts(bare)
    assert expected.normal_concat == (2, 3) and expected.reduction_concat == (3,)
    assert g.from_darts(listed) == g.load(tmp_path / "cells.py") == expected
    assert g.zoo.resolve(str(tmp_path / "cells.py")) == g.zoo.resolve(listed) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected one Genotype"),
        ("Genotype(", "expected a text Genotype"),
        ("Genotype(normal=[1])", "with the fields normal"),
        ("Genotype(1, 2, 3, 4, 5)", "with the fields normal"),
        ("Genotype(1, 2, 3, normal=4)", "with the fields normal"),
        ("Genotype([], [], [], []); Genotype([], [], [], [])", "expected one Genotype.* got 2"),
        ("Genotype([], range(10**9), [], [])", "lists, numbers and ranges"),
        ("Genotype([], range(2, 2000), [], [])", "lists, numbers and ranges"),
        ("Genotype(open('x'), [], [], [])", "lists, numbers and ranges"),
        (
            "Genotype([('sep_conv_9x9', 0), ('none', 1)], [2], [('none', 0), ('none', 1)], [2])",
            "unknown operation 'sep_conv_9x9'",
        ),
        ("Genotype(" + 50 * "[" + 50 * "]", "too deep"),
        ("Genotype(\0)", "expected a text"),
    ],
)
def test_what_is_no_text_of_darts_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as caught:
        g.from_darts(text)
    assert "\n" not in str(caught.value)


def test_other_architectures_have_no_text_of_darts():
    for other in (g.zoo.published("RobNet_large"), g.DenseGenotype(["none", "skip_connect"], ["skip_connect"] * 2)):
        with pytest.raises(InputError, match="has no text in DARTS's form"):
            g.to_darts(other)


def test_a_saved_genotype_replaces_the_whole_file_and_loads_again(tmp_path):
    path = tmp_path / "genotype.json"
    for published in PUBLISHED:
        genotype = g.from_json(published)
        g.save(genotype, path)
        assert g.load(path) == genotype
    assert [file.name for file in tmp_path.iterdir()] == ["genotype.json"]


@pytest.mark.parametrize("published", PUBLISHED)
def test_the_names_of_the_field_are_read(published):
    genotype = g.from_json({**published, "source": "some file"})
    assert genotype.nodes == 4
    assert genotype.normal == tuple(published["normal"])
    assert genotype.reduction == tuple(published["reduce"])


def test_all_published_genotypes_are_genotypes():
    shared = os.environ.get("DSRNA_SHARED")
    if not shared:
        pytest.skip("set DSRNA_SHARED to the folder that holds reference/genotypes.json")
    published = json.loads(Path(shared, "reference", "genotypes.json").read_text())["cells"]
    assert len(published) == 53
    for name, value in published.items():
        genotype = g.from_json(value)
        assert g.from_json(g.to_json(genotype)) == genotype, name


def test_a_genotype_is_printed_with_one_line_a_cell():
    lines = str(g.from_json({**DARTS_V2, "reduce_concat": [4, 5]})).splitlines()
    assert lines[0] == (
        "normal: 2<-sep_conv_3x3(0)+sep_conv_3x3(1) 3<-sep_conv_3x3(0)+sep_conv_3x3(1) "
        "4<-sep_conv_3x3(1)+skip_connect(0) 5<-skip_connect(0)+dil_conv_3x3(2)"
    )
    assert lines[1].startswith("reduction: 2<-max_pool_3x3(0)+") and lines[1].endswith(" concat 4,5")


def test_skips_are_counted_by_cell():
    genotype = g.from_json(DARTS_V2)
    assert (g.skip_count(genotype), g.skip_count(genotype, "reduction")) == (2, 3)


GOOD = g.to_json(g.from_json(DARTS_V2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"normal": [["sep_conv_9x9", 0], *GOOD["normal"][1:]]}, "unknown operation 'sep_conv_9x9'.*dil_conv_5x5"),
        ({"normal": [["skip_connect", 2], *GOOD["normal"][1:]]}, "feeds node 2, .* 0 to 1; got 2"),
        ({"reduction": [["skip_connect", -1], *GOOD["reduction"][1:]]}, "reduction cell feeds node 2, .* got -1"),
        ({"normal": [["skip_connect", True], *GOOD["normal"][1:]]}, "got True"),
        ({"normal": [["skip_connect", "0"], *GOOD["normal"][1:]]}, "got '0'"),
        ({"normal": [["skip_connect"], *GOOD["normal"][1:]]}, r"\[operation, source\]"),
        ({"normal": [[["a"], 0], *GOOD["normal"][1:]]}, "unknown operation"),
        ({"normal": GOOD["normal"][1:]}, "list of pairs"),
        ({"normal": []}, "list of pairs"),
        ({"normal": "skip_connect"}, "list of pairs"),
        ({"normal": None}, "list of pairs"),
        ({"normal": GOOD["normal"][:6], "normal_concat": [2]}, "6 in the normal and 8 in the reduction"),
        ({"normal_concat": [2, 6]}, r"nodes from 2 to 5; got \[2, 6\]"),
        ({"reduction_concat": [1, 2]}, "reduction_concat"),
        ({"normal_concat": [2, 2]}, "different nodes"),
        ({"normal_concat": [[2]]}, "normal_concat"),
        ({"normal_concat": []}, "normal_concat"),
    ],
)
def test_what_is_no_genotype_is_refused_in_one_line(change, said, tmp_path):
    with pytest.raises(InputError, match=said):
        g.from_json({**GOOD, **change})
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(InputError, match="broken.json.*" + said) as error:
        g.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", '{"normal": [["sep_conv', "[1, 2]", "null", "{}", b"\xff\xfe\x00"])
def test_a_broken_file_is_named(text, tmp_path):
    path = tmp_path / "genotype.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match="genotype.json") as error:
        g.load(path)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="absent.json"):
        g.load(tmp_path / "absent.json")


def test_neither_jax_nor_matplotlib_is_imported():
    code = "import sys; from dsrna_jax import genotypes as g; g.derive; print(bool({'jax', 'matplotlib'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True).stdout == b"False\n"

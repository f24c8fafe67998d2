"""The mixtures on the page of a search: every epoch's weights are there, those of the last are shown without a script."""

import json
import re

import numpy as np
import pytest
from searched_alphas import searched

from dsrna_jax.genotypes.derivation import edge_mixture, mixture
from dsrna_jax.search.mixtures_page import mixtures


@pytest.mark.parametrize(("space", "keep"), [("darts", "two"), ("darts", "all"), ("pcdarts", "two"), ("proxyless", "two")])
def test_the_page_holds_the_mixture_of_every_epoch_and_shows_the_last(space, keep):
    epochs, history, genotypes, primitives = searched(space, keep)
    text = mixtures(epochs, history, genotypes, primitives)
    content = json.loads(re.search(r'application/json">(.*?)</script>', text)[1])
    assert content["epochs"] == epochs
    for alphas, genotype, shown in zip(history, genotypes, content["shown"], strict=True):
        expected = []
        for group in genotype.groups:
            edges = edge_mixture(alphas[f"{group}_edges"]) if space == "pcdarts" else None
            for row, weights in enumerate(mixture(alphas[group])):
                expected += [*weights, *([] if edges is None else [edges[row]])]
        np.testing.assert_allclose([value / 1000 for value in shown if not isinstance(value, str)], expected, atol=5e-4)
        names = [value for value in shown if isinstance(value, str) and value != "–"]
        assert sorted(names) == sorted(
            gene[0] for group in genotype.groups for gene in genotype.genes(group)
        ) if space != "proxyless" else names == list(genotype.blocks)  # fmt: skip
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert cells == [value if isinstance(value, str) else f"{value / 10:.1f}" for value in content["shown"][-1]]


def test_the_page_of_a_search_has_the_mixtures_of_its_epochs(smoke_run):
    folder, _ = smoke_run
    text = (folder / "index.html").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (folder / "alphas.jsonl").read_text().splitlines()]
    content = json.loads(re.search(r'application/json">(.*?)</script>', text)[1])
    assert content["epochs"] == [row["epoch"] for row in rows]

"""The mixtures of a search on its page: a table for each cell, and a slider that shows them at any epoch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.derivation import edge_mixture, mixture
from dsrna_jax.genotypes.genotype import called
from dsrna_jax.pages import safe, table
from dsrna_jax.plots.alphas import PANELS

Shown = list[int | str]


def mixtures(
    epochs: Sequence[int], history: Sequence[Mapping[str, Any]], genotypes: Sequence[Searched | None], primitives: Sequence[str]
) -> str:
    """The section of a page, as HTML: the weights after the last epoch, which a slider changes to those of another.

    Weights are in per cent of the edge or block. The largest is not always the one that is kept: a node keeps two edges.

    Args:
      epochs: of the alphas, in order; at least one.
      history: alphas of each epoch, as `derive` takes them.
      genotypes: derived from each of them; None where none was, but not the last.
      primitives: names of the columns of alphas.
    """
    alphas, genotype = history[-1], genotypes[-1]
    assert genotype is not None
    every = [_shown(of, own or genotype, own is not None) for of, own in zip(history, genotypes, strict=True)]
    last = iter(every[-1])
    tables = []
    for group in genotype.groups:
        places = "block" if group == "blocks" else "edge"
        names = ["kept", *primitives, *(["the edge itself"] if f"{group}_edges" in alphas else [])]
        rows = [
            f'<tr><th scope="row">{safe(label)}</th>{"".join(_cell(next(last)) for _ in names)}</tr>'
            for _, label, _ in PANELS[type(genotype)](genotype, group)
        ]
        heads = "".join(f'<th scope="col">{safe(name).replace("_", "_<wbr>")}</th>' for name in (places, *names))
        about = f"{called(group)}: the operation that the genotype keeps, and the weights in the mixture [%]"
        tables.append(table(about, heads, rows, label=f"mixtures of {called(group)}"))
    content = json.dumps({"epochs": list(epochs), "shown": every}, separators=(",", ":")).replace("<", "\\u003c")
    slider = _SLIDER.format(most=len(epochs) - 1, last=epochs[-1])
    return "\n".join(
        ["<section class=mixtures>\n<h2>Mixtures</h2>", slider, *tables]
        + [f'<script type="application/json">{content}</script>', _SCRIPT, "</section>"]
    )


def _shown(alphas: Mapping[str, Any], genotype: Searched, is_derived: bool) -> Shown:
    """The cells of all tables in their order: weights in thousandths, and names."""
    shown: Shown = []
    for group in genotype.groups:
        weights = mixture(alphas[group])
        edges = edge_mixture(alphas[f"{group}_edges"]) if f"{group}_edges" in alphas else None
        for row, (_, _, kept) in enumerate(PANELS[type(genotype)](genotype, group)):
            shown.append((is_derived and kept) or "–")
            shown += [round(1000 * float(weight)) for weight in weights[row]]
            shown += [] if edges is None else [round(1000 * float(edges[row]))]
    return shown


def _cell(value: int | str) -> str:
    if isinstance(value, str):
        return f'<td class="kept">{safe(value)}</td>'
    return f'<td style="--share: {value / 10:.1f}">{value / 10:.1f}</td>'


_SLIDER = """<p class="slider" hidden><label for="epoch">Epoch</label>
<input id="epoch" type="range" min="0" max="{most}" value="{most}"> <output for="epoch">{last}</output></p>"""

_SCRIPT = """<script>
for (const part of document.querySelectorAll(".mixtures")) {
  const {epochs, shown} = JSON.parse(part.querySelector("script").textContent);
  const cells = part.querySelectorAll("td"), slider = part.querySelector("input"), last = epochs.length - 1;
  const show = () => {
    const at = Number(slider.value);
    slider.setAttribute("aria-valuetext", `epoch ${epochs[at]} of ${epochs[last]}`);
    part.querySelector("output").textContent = epochs[at];
    shown[at].forEach((value, index) => {
      cells[index].textContent = typeof value === "number" ? (value / 10).toFixed(1) : value;
      if (typeof value === "number") cells[index].style.setProperty("--share", value / 10);
    });
  };
  slider.addEventListener("input", () => {  // the address keeps the epoch when the page loads itself again
    history.replaceState(null, "", Number(slider.value) === last ? "#" : `#epoch=${epochs[slider.value]}`);
    show();
  });
  const asked = epochs.findIndex(epoch => location.hash === `#epoch=${epoch}`);
  if (asked >= 0) slider.value = asked;
  part.querySelector(".slider").hidden = last === 0;
  show();
}
</script>"""

"""Options of sampled searches: the strategy that proposes sub-networks of a trained supernet, and how they are rewarded."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES
from dsrna_jax.runtime.options import option
from dsrna_jax.search.sampled import STRATEGIES

OBJECTIVES = ("accuracy", "pgd_accuracy", "robustness", "multiply_adds")
CODED_SPACES = ("darts", "s5", "robnet")  # spaces whose cells a code describes
_TERM = re.compile(r"\s*([+-]?)\s*(?:([0-9.]+(?:e[+-]?[0-9]+)?)\s*\*\s*)?([a-z_]+)\s*")


@dataclasses.dataclass(frozen=True)
class SampledOptions:
    """Sampled searches on one shared supernet: `epochs` are those of the supernet, then children are tried in rounds."""

    section: ClassVar[str] = "sampled searches"

    strategy: str = option(
        "gradient",
        "way of the search: by gradients of alphas, or how children are sampled from a supernet",
        STRATEGIES,
        before="gradient",
    )
    children: int = option(
        0, "sub-networks that a sampled search tries; 0 for a search by gradients", "[0, 1e7]", before=0, of="strategy!=gradient"
    )
    round_size: int = option(4, "children that a strategy proposes at a time", "[1, 1e5]", before=4, of="strategy!=gradient")
    reward: str = option(
        "accuracy",
        "reward of a child on search_val: accuracy, pgd_accuracy, robustness or multiply_adds, or a sum such as "
        "accuracy+0.5*pgd_accuracy-1e-9*multiply_adds",
        before="accuracy",
        of="strategy!=gradient",
    )
    objectives: str = option(
        "",
        "objectives of a Pareto front over all children, as accuracy,robustness,multiply_adds; empty for none",
        before="",
        of="strategy!=gradient",
    )
    controller_lr: float = option(
        3.5e-4, "learning rate of the controller (reinforce)", "[0, 1e6]", before=3.5e-4, of="strategy=reinforce"
    )
    controller_entropy: float = option(
        1e-4, "weight of the entropy of its choices", "[0, 1e6]", before=1e-4, of="strategy=reinforce"
    )
    population: int = option(16, "members of the population (evolution)", "[1, 1e5]", before=16, of="strategy=evolution")
    tournament: int = option(
        4, "members from which a parent is the best (evolution)", "[1, 1e5]", before=4, of="strategy=evolution"
    )
    supernet_attack_steps: int = option(
        0, "steps of PGD on the images from which the supernet learns; 0 for none", "[0, 1e5]", before=0, of="strategy!=gradient"
    )
    fine_tune_steps: int = option(
        0, "steps that a child learns by itself before it is judged", "[0, 1e7]", before=0, of="strategy!=gradient"
    )
    fine_tune_lr: float = option(0.01, "learning rate of these steps", "[0, 1e6]", before=0.01, of="fine_tune_steps")
    candidates: int = option(
        1,
        "codes proposed for each child, of which those with the least FSP distance are tried (RobNet)",
        "[1, 1e4]",
        before=1,
        of="strategy!=gradient",
    )
    cell_free: bool = option(False, "a code of its own for each cell (space=robnet)", before=False, of="strategy!=gradient")
    attack_radius: float = option(
        8 / 255, "radius of PGD (l-infinity) on children, in pixel units", "[0, 1]", before=8 / 255, of="strategy!=gradient"
    )
    attack_steps: int = option(7, "steps of that PGD", "[1, 1e5]", before=7, of="strategy!=gradient")


def reward_weights(text: str) -> dict[str, float]:
    """The weight of each objective in a reward such as "accuracy-1e-9*multiply_adds".

    Raises: InputError, with the known objectives, if it is no such sum.
    """
    weights: dict[str, float] = {}
    position = 0
    while position < len(text) or not weights:
        term = _TERM.match(text, position)
        if term is None or term[3] not in OBJECTIVES or (position and not term[1]) or term[3] in weights:
            raise InputError(
                f"reward={text!r}: expected {', '.join(OBJECTIVES)}, each once and with a factor if any, as in "
                "accuracy+0.5*pgd_accuracy"
            )
        try:
            weights[term[3]] = float(f"{term[1]}{term[2] or 1}")
        except ValueError:
            raise InputError(f"reward={text!r}: {term[2]!r} is no number; expected a factor such as 0.5") from None
        position = term.end()
    return weights


def check_sampled(config: Any) -> None:
    """Raises: InputError if options of a search configuration do not fit its strategy."""
    if config.strategy == "gradient":
        if not config.epochs:
            raise InputError("epochs=0: expected at least 1")
        return
    if not config.children:
        raise InputError(f"children=0: expected at least 1 with strategy={config.strategy}, such as {8 * config.round_size}")
    if config.children % config.round_size:
        raise InputError(f"children={config.children} are no whole rounds: expected a multiple of round_size={config.round_size}")
    if config.space not in CODED_SPACES:
        raise InputError(
            f"space={config.space} has weights of edges, which children lack: expected one of {', '.join(CODED_SPACES)}"
        )
    if config.objectives:
        front_objectives(config.objectives)
    if config.strategy == "pnas" and config.space == "robnet":
        raise InputError("strategy=pnas grows cells with two edges into each node: expected space=darts or space=s5")
    if config.strategy == "pnas" and config.children // config.round_size < config.nodes:
        raise InputError(
            f"strategy=pnas has a round for each node: expected children of at least {config.nodes * config.round_size}"
        )
    if config.cell_free and config.space != "robnet":
        raise InputError(f"cell_free is of RobNet's codes: expected space=robnet; got space={config.space}")
    if not config.epochs and not config.fine_tune_steps:
        raise InputError("epochs=0 trains no supernet: expected fine_tune_steps of at least 1, by which children learn")
    measure = MEASURES[config.metric] if "robustness" in objectives_of(config) else None
    if measure and measure.bounds_stages and (config.cell_free or config.candidates > 1):
        raise InputError(
            f"metric={config.metric} needs a code that all cells share and no FSP distance: expected candidates=1 without "
            "cell_free"
        )
    if config.strategy == "evolution" and config.tournament > config.population:
        raise InputError(f"tournament={config.tournament}: expected at most population={config.population}")
    if measure and measure.is_zero:
        raise InputError("robustness needs a measure R: expected metric=jacobian or metric=certified")


def front_objectives(text: str) -> tuple[str, ...]:
    """The objectives of a Pareto front. Raises: InputError, with the known ones, unless they are two or more different ones."""
    names = tuple(name.strip() for name in text.split(","))
    if len(set(names)) < max(2, len(names)) or not set(names) <= set(OBJECTIVES):
        raise InputError(f"objectives={text!r}: expected two or more of {', '.join(OBJECTIVES)}, as accuracy,multiply_adds")
    return names


def objectives_of(config: Any) -> Mapping[str, float]:
    """The objectives that are measured of each child, with their weights in its reward, 0 for those that only stand beside it."""
    weights, beside = reward_weights(config.reward), front_objectives(config.objectives) if config.objectives else ()
    return {name: weights.get(name, 0.0) for name in OBJECTIVES if name in weights or name in beside}

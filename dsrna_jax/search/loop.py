"""A search by gradients between two steps: what it does in a step, records of an epoch, and leaves at its end."""

import contextlib
import functools
import math
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.genotypes.architecture import Searched
from dsrna_jax.genotypes.derivation import derivation
from dsrna_jax.genotypes.genotype import skip_count
from dsrna_jax.genotypes.search_spaces import search_space
from dsrna_jax.genotypes.skip_limit import derive_with_few_skips
from dsrna_jax.runtime.compilation import initial_state
from dsrna_jax.runtime.loop import RunLoop
from dsrna_jax.runtime.records import rows
from dsrna_jax.search import mixing, stopping
from dsrna_jax.search.collapse import collapse_note
from dsrna_jax.search.folder import SearchFolder
from dsrna_jax.search.gamma import gamma_of
from dsrna_jax.search.optimizers import weight_rate
from dsrna_jax.search.programs import SearchPrograms, arguments, search_programs
from dsrna_jax.search.setup import SearchSetup

OPTIONAL = ("perturbation_radius", "skip_dropout", "multiply_adds", "latency_ms")  # metrics of steps that some searches have


class Measurement(NamedTuple):
    """A dominant eigenvalue, and the genotype (as JSON) of its epoch."""

    epoch: int
    eigenvalue: float
    genotype: dict[str, Any]


class SearchLoop(RunLoop):
    """The state of a search between two steps.

    rankings: those of the epochs so far, if the search may stop by them.
    curvature: the measurements so far, if it may stop by them.
    """

    setup: SearchSetup
    folder: SearchFolder
    programs: SearchPrograms
    genotype: Searched
    rankings: list[stopping.Ranking]
    curvature: list[Measurement]
    remedy = "start anew with a smaller weight_lr, alpha_lr or gamma"
    rare = ("eigenvalue",)
    _val: tuple[int, Any] = (-1, None)  # number and images of the last batch of search_val

    def uncompiled(self) -> tuple[SearchPrograms, dict[str, tuple]]:
        return search_programs(self.setup.functions), arguments(self.setup, self.mesh)

    def save(self) -> None:
        checkpoints = self.folder.checkpoints
        checkpoints.keep = max(checkpoints.keep, stopping.kept_epochs(self.config))  # a series may go on from the cells' epoch
        super().save()

    def begin(self) -> None:
        functions = self.setup.functions.given((0.0,), (1.0,), {})  # initial weights do not depend on them
        self.state = initial_state(functions.init, self.config.seed, self.mesh)
        alphas = jax.device_get(self.state.alphas)
        self.folder.write_alphas(0, 0, alphas, **({} if self.config.kept is None else {"kept": jax.device_get(self.state.kept)}))
        self.genotype, self.rankings, self.curvature = self._derived(alphas), [], []

    def resume(self, metadata: dict[str, Any]) -> None:
        self.rankings = metadata.get("rankings", [])
        self.curvature = [Measurement(*values) for values in metadata.get("curvature", [])]
        self.genotype = cast(Searched, genotypes.from_json(metadata["genotype"]))
        self.folder.write_genotype(self.genotype)

    def needed(self, step: int) -> dict[str, Any]:
        programs, steps = self.programs, self.setup.steps_per_epoch
        needed = {"weight step": programs.weight_step, "evaluation": programs.evaluate}
        if step // steps >= self.config.warmup_epochs and programs.alpha_step is not None:
            needed["alpha step"] = programs.alpha_step
        if (step + 1) % steps == 0 and programs.certify is not None:
            needed["certification"] = programs.certify
        if (step + 1) % steps == 0 and self._measures_eigenvalue((step + 1) // steps):
            needed["eigenvalue"] = programs.eigenvalue
        return needed

    def take_step(self) -> dict[str, jax.Array]:
        train, metrics = self.feed.batch("search_train", self.step), {}
        if self.step // self.setup.steps_per_epoch >= self.config.warmup_epochs and self.programs.alpha_step is not None:
            alpha_step = self.programs.alpha_step.result()
            self.state, metrics = alpha_step(self.state, self.data, train, self._val_batch(self.step), self.key)
        self.state, more = self.programs.weight_step.result()(self.state, self.data, train, self.key)
        return metrics | more

    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, Any]:
        val_loss, val_accuracy = self._evaluation()
        self.check_finite("val_loss", val_loss)
        alphas = jax.device_get(self.state.alphas)
        self.genotype = self._derived(alphas)
        self.folder.write_alphas(epoch, self.step, alphas, **self._mixing(epoch - 1))
        self.folder.write_genotype(self.genotype, epoch)
        robustness = means.get("robustness")
        row = {
            "learning_rate": float(weight_rate(self.config, epoch - 1)),
            "train_loss": means["train_loss"],
            "train_accuracy": means["train_accuracy"],
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "robustness": robustness,
            "gamma_times_robustness": None if robustness is None else float(gamma_of(self.config, epoch - 1)) * robustness,
            "weight_gradient": means["weight_gradient"],
            "alpha_gradient": means.get("alpha_gradient"),
            "radius": _radius(means),
            **self._certified_radii(),
            "certified_accuracy": means.get("certified_accuracy"),
            **{name: means[name] for name in OPTIONAL if name in means},
            **self._of_mixtures(epoch - 1),
            **self._eigenvalue(epoch),
            **{f"skips_{group}": skip_count(self.genotype, group) for group in self.genotype.groups},
        }
        self._judge(epoch, alphas, row.get("eigenvalue"))
        return row

    def _mixing(self, epoch: int) -> dict[str, Any]:
        """The temperature of the mixtures, if they have one, and what is left of the operations, if some are pruned."""
        config, kept = self.config, jax.device_get(self.state.kept)
        heat = {"temperature": mixing.temperature(config, epoch, config.epochs)} if mixing.has_temperature(config) else {}
        return heat | ({} if kept is None else {"kept": kept})

    def _of_mixtures(self, epoch: int) -> dict[str, float]:
        """The facts of `_mixing` as numbers of an epoch."""
        facts = self._mixing(epoch)
        if "kept" in facts:
            facts["operations_left"] = float(np.mean([kept.sum(axis=1).mean() for kept in facts.pop("kept").values()]))
        return facts

    def _derived(self, alphas: dict[str, Any]) -> Searched:
        """The genotype of the alphas by the rule of the configuration."""
        config, kept = self.config, jax.device_get(self.state.kept)
        if config.operations:  # the others have no share of their edge
            alphas = mixing.likely_logits(alphas, kept=kept)
        if config.most_skips < 64:
            return derive_with_few_skips(alphas, config.primitives, kept, most=config.most_skips)
        return derivation(search_space(config.space), config.keep)(alphas, config.primitives, kept)

    def _judge(self, epoch: int, alphas: dict[str, Any], eigenvalue: float | None) -> None:
        """Ends the search by the rules of its configuration, once the alphas have moved."""
        config, why = self.config, None
        if epoch <= config.warmup_epochs:
            return
        if config.stop_skips or config.stop_stable:
            self.rankings.append(stopping.ranking(alphas, config.primitives))
            why = stopping.reason(self.genotype, self.rankings, config.stop_skips, config.stop_stable)
        if config.stop_eigenvalue and eigenvalue is not None:
            self.curvature.append(Measurement(epoch, eigenvalue, genotypes.to_json(self.genotype)))
            if rise := self.rise:
                why = f"the dominant eigenvalue has risen by {rise.ratio:.2f}; the cells are those of epoch {rise.epoch}"
                (kept,) = [genotype for epoch, _, genotype in self.curvature if epoch == rise.epoch]
                self.genotype = cast(Searched, genotypes.from_json(kept))
                self.folder.write_genotype(self.genotype)
        if why:
            self.is_over = True
            self.progress.note(f"the search stops after epoch {epoch}: {why}")

    @property
    def rise(self) -> stopping.Rise | None:
        """The rise of the dominant eigenvalue by which the search has stopped, if it has."""
        return stopping.rise_of(self.config, [(epoch, eigenvalue) for epoch, eigenvalue, _ in self.curvature])

    def draw(self) -> None:
        self.folder.draw(self.genotype, self.config)

    def conclude(self) -> None:
        """Draws the pictures and writes the page of the search that has ended."""
        self.folder.draw(self.genotype, self.config, {} if self.rise is None else {self.rise.epoch: "the cells found"})
        note = collapse_note(self.genotype, rows(self.folder.metrics.path))
        self.folder.write_page("; ".join(filter(None, (f"ended after {self.row.get('epoch', 0)} epochs", note))))

    def _evaluation(self) -> tuple[float, float]:
        """Loss and accuracy on all of search_val, not augmented, by the running statistics."""
        loss, right = self.sums_over("search_val", self.programs.evaluate.result())
        count = len(self.setup.parts["search_val"])
        return loss / count, right / count

    def _certified_radii(self) -> dict[str, float]:
        """Radii, by name, at which a quarter, half and three quarters of the first images of search_val are certified."""
        if self.programs.certify is None:
            return {}
        log_radii = np.asarray(self.programs.certify.result()(self.state, self.data, self._first_of_val), float)
        at = (len(log_radii) * np.array([0.25, 0.5, 0.75])).astype(int)
        radii = np.exp(np.sort(log_radii)[::-1][at])
        return {f"radius_certifying_{share}": float(radius) for share, radius in zip((25, 50, 75), radii, strict=True)}

    @functools.cached_property
    def _first_of_val(self) -> Any:
        """The first batch of search_val, not augmented, which every epoch certifies."""
        with contextlib.closing(self.feed.evaluation("search_val")) as batches:
            first, _ = next(batches)
        return first

    def _val_batch(self, step: int) -> Any:
        """Batch number `step` of search_val; the last one is kept, since a stream would have to begin anew to return to it."""
        if self._val[0] != step:
            self._val = step, self.feed.batch("search_val", step)
        return self._val[1]

    def _measures_eigenvalue(self, epoch: int) -> bool:
        """Whether the eigenvalue is measured after that epoch, counted from 1."""
        every = self.config.eigenvalue_every
        return bool(every) and epoch % every == 0

    def _eigenvalue(self, epoch: int) -> dict[str, float | None]:
        """The dominant eigenvalue, on the batch of search_val in the last step; None in an epoch in which it is not measured."""
        if self.programs.eigenvalue is None:
            return {}
        if not self._measures_eigenvalue(epoch):
            return {"eigenvalue": None}
        val = self._val_batch(self.step - 1)
        eigenvalue = float(self.programs.eigenvalue.result()(self.state, self.data, val, self.key))
        self.check_finite("eigenvalue", eigenvalue)
        return {"eigenvalue": eigenvalue}

    def metadata(self) -> dict[str, Any]:
        histories = {"rankings": self.rankings, "curvature": self.curvature}
        return {"genotype": genotypes.to_json(self.genotype)} | {name: history for name, history in histories.items() if history}

    def columns(self, means: dict[str, float]) -> dict[str, Any]:
        return {
            "loss": means.get("train_loss"),
            "val_acc": self.row.get("val_accuracy"),
            "R": means.get("robustness"),
            "radius": _radius(means) or means.get("radius"),
            "skips": "+".join(str(skip_count(self.genotype, group)) for group in self.genotype.groups),
            "train_acc": means.get("train_accuracy"),
        }


def _radius(means: dict[str, float]) -> float | None:
    """The geometric mean of the radii of certificates, as a Python float: those of deep supernets are too small for float32."""
    return math.exp(means["log_radius"]) if "log_radius" in means else None

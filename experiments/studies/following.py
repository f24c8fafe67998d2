"""Does R teach? Cells that follow dR/dalpha and nothing else, cells that flee it, and their certified radii after training.

    python -m experiments.studies.following --seeds=3

For each seed the weights of a supernet learn the handwritten digits while its alphas climb R (`--metric=certified`,
certificate `cell`), or descend it. The cell that they end with is trained and certified as in experiments.studies.ranking,
whose random cells are what both compare with. What is done is not done again: run the same command after a stop.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.presets.dsrna import DIGITS_DSRNA_CB
from dsrna_jax.commands.process import enable_compilation_cache, execute
from dsrna_jax.genotypes.architecture import save
from dsrna_jax.genotypes.derivation import derive
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.runtime.paths import check_path
from experiments.studies.ranking import row

CONFIG = dataclasses.replace(DIGITS_DSRNA_CB, channels=8, warmup_epochs=0)
SIGNS = {"along": 1, "against": -1}


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = no_flags()
    define(values, "seeds", 3, "how many supernets, each of which gives a cell along dR/dalpha and one against it", "[1, 1000]")
    define(values, "steps", 100, "steps of the alphas", "[1, 1e6]")
    define(values, "rate", 0.02, "by which each alpha moves in a step", "(0, 100]")
    define(values, "images", 8, "test images on which networks are certified", "[1, 1e6]")
    define(values, "run_dir", "runs/following", "where cells, trainings and results go")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    check_path(values.run_dir, "run_dir")
    enable_compilation_cache()
    radii = {name: [] for name in SIGNS}
    for seed in range(values.seeds):
        folder = Path(values.run_dir)
        files = {name: folder / f"{name}_{seed}.json" for name in SIGNS}
        if not all(file.exists() for file in files.values()):
            folder.mkdir(parents=True, exist_ok=True)
            for name, cell in cells(dataclasses.replace(CONFIG, seed=seed), values.steps, values.rate).items():
                save(cell, files[name])
        for name, file in files.items():
            results = row(str(file), folder / f"{name}_{seed}", values.images)
            radii[name].append(results["crown_radius"])
            print(f"{name} {seed} {' '.join(f'{key} {value:.4g}' for key, value in results.items())}", flush=True)
    print("\n| cells that went | mean CROWN radius | each |\n|---|---|---|")
    for name, each in radii.items():
        print(f"| {name} dR/dalpha | {sum(each) / len(each):.4f} | {', '.join(f'{radius:.4f}' for radius in each)} |")
    print(f"\n{values.run_dir} holds the cells, and a folder for each network, with ranking.json.")


def cells(config, steps: int, rate: float) -> dict[str, Genotype]:
    """Cells derived from alphas that climbed R ("along") and that descended it ("against") while the weights learned."""
    import jax
    import jax.numpy as jnp

    from dsrna_jax.measures import certificates
    from dsrna_jax.networks import spaces
    from dsrna_jax.networks.function import NetworkFunction
    from dsrna_jax.runtime import sharding
    from dsrna_jax.search.setup import search_setup
    from dsrna_jax.search.state import SearchBatch

    setup = search_setup(config)
    options = sharding.compiler_options(sharding.mesh(1))

    def gradient(state, batch):
        def r(alphas):
            mixtures, variables = (
                spaces.mixtures(alphas, config.nodes, config.primitives),
                {"params": state.weights, "batch_stats": state.batch_stats},
            )
            _, moments = setup.network.apply(variables, batch.images, mixtures, "batch", mutable=["moments"])
            function = NetworkFunction(setup.network, variables | moments, mixtures, "frozen")
            measured = certificates.cell(function, batch.images, batch.labels, jax.random.key(0), log_radius=state.log_radius)
            return measured.robustness.mean()

        return jax.value_and_grad(r)(state.alphas)

    gradient = jax.jit(gradient, compiler_options=options)
    weight_step = jax.jit(setup.functions.weight_step, compiler_options=options)

    def batch(half, step):
        chosen, data = setup.batch(half, step), setup.dataset
        return SearchBatch(jnp.asarray(data.images[chosen], jnp.float32) / 255, jnp.asarray(data.labels[chosen]))

    derived = {}
    for name, sign in SIGNS.items():
        state = jax.jit(setup.functions.init)(jax.random.key(config.seed, impl="rbg"))
        for step in range(steps):
            r, slope = gradient(state, batch("search_val", step))
            if step in (0, steps - 1):
                print(f"{name} dR/dalpha, seed {config.seed}, step {step + 1}: R {r:.3f}", flush=True)
            alphas = jax.tree.map(lambda a, g, sign=sign: a + sign * rate * jnp.sign(g), state.alphas, slope)
            state, _ = weight_step(state.replace(alphas=alphas), batch("search_train", step))
        derived[name] = derive(state.alphas, config.primitives)
    return derived


if __name__ == "__main__":
    execute(main)

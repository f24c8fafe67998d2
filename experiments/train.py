"""`python -m experiments.train`: the command `dsrna_jax train`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.process import execute
from dsrna_jax.commands.train import main

if __name__ == "__main__":
    execute(main)

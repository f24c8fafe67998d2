"""`python -m experiments.compare`: the command `dsrna_jax compare`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.compare import main
from dsrna_jax.commands.process import execute

if __name__ == "__main__":
    execute(main)

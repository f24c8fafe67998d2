"""`python -m experiments.export`: the command `dsrna_jax export`, from a clone. `--help` says what it does."""

from dsrna_jax.commands.export import main
from dsrna_jax.commands.process import execute

if __name__ == "__main__":
    execute(main)

"""Runs the experiment of experiments/studies/question, whose --help says more."""

from dsrna_jax.commands.process import execute
from experiments.studies.question.command import main

if __name__ == "__main__":
    execute(main)

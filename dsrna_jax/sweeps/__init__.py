"""Sweeps: many commands, each with a folder of its own, run by this machine, a Slurm cluster or a Ray cluster."""

"""Looking at GPUs: programs compiled for one that is not there, and a runbook for a machine that has one."""

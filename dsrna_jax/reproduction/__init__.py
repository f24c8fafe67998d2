"""Reproduction of the paper's tables: protocols and scales as data, the graph of runs that they ask for, pages of results."""

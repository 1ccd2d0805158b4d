"""Experiments of many runs: run configurations, run folders, the ledger, grids, sweeps, statistics, findings."""

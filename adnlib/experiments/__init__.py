"""The road repeated: the description of a run, run folders, the ledger, grids, sweeps, statistics, findings."""

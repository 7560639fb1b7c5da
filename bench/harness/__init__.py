"""What the benchmarks share: results, the machine, a server of one's own, and the data."""

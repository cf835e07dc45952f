"""asv benchmarks, one file per word."""

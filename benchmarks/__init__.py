"""Benchmarks of azdriver and its peers; ``python -m benchmarks.run --help``, and README.md."""

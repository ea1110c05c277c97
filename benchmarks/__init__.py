"""Side-by-side measurements against the libraries that people would use instead: ``python -m benchmarks --help``."""

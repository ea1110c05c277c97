"""The build tool behind ``python -m book``: execute, check, build and extend the book."""

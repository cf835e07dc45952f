"""Plays recorded accesses against sparecall's cache, textbook policies and other libraries: `python -m benches.traces`."""

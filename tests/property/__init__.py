"""Hypothesis tests, one file per word."""

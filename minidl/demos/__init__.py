"""Experiments behind statements: each reruns on packaged data, prints its figure and the band it belongs in."""

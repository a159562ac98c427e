"""What a classifier, a ranking or a probability is worth: counts, rates, curves, calibration."""

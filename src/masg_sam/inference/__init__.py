"""Prediction: from a file to a mask that lies exactly on it."""

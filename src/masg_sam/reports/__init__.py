"""The report: one HTML file that says what a model or a set of masks is worth."""

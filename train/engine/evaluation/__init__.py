"""The evaluation of trained runs, and the reports on trained runs."""

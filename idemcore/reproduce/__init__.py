"""A paper's experiments as sweeps, each with a report, and a page that says which of its claims hold.

registry/experiments/NAME/*.yaml -> Experiment -> Study (models, dataset) -> store, report -> claims -> index.html
"""

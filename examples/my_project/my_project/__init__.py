"""A core, a data set, a task and a metric for `unrolled`.

Nothing is imported here, so that a trained model is loaded without what trains it.
"""

"""A day of one camera in compressed time, on rendered rooms with true alpha.

``python -m benchmark.day render`` draws the day's pictures, ``python -m benchmark.day measure``
plays them with a sensor's noise to the predictor that the node uses and to other methods.
"""

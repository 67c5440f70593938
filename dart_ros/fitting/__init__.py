"""Training of the network, and its fit to a scene."""

"""How good a matte is: the matting literature's metrics, baselines, and tables over recordings."""

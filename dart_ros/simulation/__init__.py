"""Simulated RGB-D frames with truth: foregrounds before backgrounds, light, shadows, a sensor."""

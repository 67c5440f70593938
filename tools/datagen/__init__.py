"""Renders rigged people and furnished rooms into training data and the demo recording.

Needs an OpenGL driver and ``pip install moderngl pillow scipy``, for compressed people ``meshopt``
as well; nothing here is used at run time.
"""

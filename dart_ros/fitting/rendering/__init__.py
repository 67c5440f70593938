"""Renders rigged people and furnished rooms into training data and the demo recording.

Needs an OpenGL driver and ``pip install dart_ros[render]``; nothing here is used at run time.
"""

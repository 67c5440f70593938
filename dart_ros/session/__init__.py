"""Scenes, recordings, background capture and matting of single frames, without ROS."""

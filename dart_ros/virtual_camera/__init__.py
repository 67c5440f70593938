"""A camera for call software: the composite as a v4l2 device, or as raw frames in a pipe."""

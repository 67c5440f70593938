"""The operator's page: live picture, capture, scenes and backdrop of matting nodes in a browser."""

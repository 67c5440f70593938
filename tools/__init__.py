"""What a robot never runs."""

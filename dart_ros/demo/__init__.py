"""The demo: a replayed camera, a recorder and the harness that starts them with a real node."""

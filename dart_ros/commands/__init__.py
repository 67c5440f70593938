"""The commands of ``dart-ros``, a file each: its arguments and what it does."""

"""Other matting methods: ``dart-ros evaluate --methods-from benchmark.peers --methods rvm``."""

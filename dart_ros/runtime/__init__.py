"""Engines that run the network on frames, one file each, behind one small interface."""

"""The method in its deployed form, and the files that the engines read of it; needs torch."""

"""Plots, grids of images and animations, written as PNG and GIF files."""

"""Prints the colours that tests/figures.rs expects: python3 colormaps.py (needs matplotlib)."""
import matplotlib

for name in ("viridis", "inferno"):
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        rgb = [round(channel * 255) for channel in matplotlib.colormaps[name](value)[:3]]
        print(f"(Colormap::{name.title()}, {value}, {rgb}),")

"""What the assets reach the world through: one module a seam, laptop and cloud side by side."""

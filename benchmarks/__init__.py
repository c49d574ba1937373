"""How fast the platform is, measured against a simulated market; run with ``make bench``."""

"""Networks that more than one plugin runs, and what lies between them and idem's images. Plugins may import these."""

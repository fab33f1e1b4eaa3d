"""ELIC as an idem codec."""

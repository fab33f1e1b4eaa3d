"""What a solver did, and what it cost."""

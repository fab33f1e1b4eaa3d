"""How plugins are found, checked, configured and chosen."""

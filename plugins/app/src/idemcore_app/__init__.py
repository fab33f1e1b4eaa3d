"""idem in the browser: a local page for photographs."""

"""What idem measures and writes, as dataclasses with one JSON form; docs/reference/schemas.md lists their keys."""

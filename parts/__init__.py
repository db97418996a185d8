"""Your own losses, schedules and sources, named in params.yaml as parts.FILE:FUNCTION (docs/how-to/extending.md)."""

// Laid out in ARCHITECTURE.md; filled by its own change.

"""The embedded world: a small catalogue that ships with the repository."""

"""Revisions of the tables, from the first on; `env.py` is what Alembic asks for."""

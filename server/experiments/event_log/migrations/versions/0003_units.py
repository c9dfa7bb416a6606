"""Exposures and outcomes by shopper, so that one can be forgotten at once."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("etalage_exposures_by_unit", "etalage_exposures", ["unit"])
    op.create_index("etalage_outcomes_by_unit", "etalage_outcomes", ["unit"])

"""Alembic environment and frozen schema versions of the directory database. Never imports `directory`."""

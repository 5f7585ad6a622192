"""Alembic environment and frozen schema versions of the directory database. No version ever imports `directory`."""

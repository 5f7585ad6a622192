"""The operations of administration, one function each: what is checked, what is changed, what the audit is told.

They work inside one transaction (`directory.work.Work`) and never commit.
"""

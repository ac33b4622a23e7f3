"""What people read: figures in one style, and tables of records and verdicts."""

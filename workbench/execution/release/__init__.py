"""A release: a frozen candidate, and the people who signed for it."""

"""Drills: defects are planted in a copy of a release, to see which gate refuses each (L8)."""

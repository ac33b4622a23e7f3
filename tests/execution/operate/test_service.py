"""What answers: an authority and a gateway that end together, and only what is still granted (E5)."""

from __future__ import annotations

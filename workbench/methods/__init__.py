"""What a stage notebook calls. Heavy imports live here, and only notebooks import it."""

from .stage import Stage, open_stage

__all__ = ["Stage", "open_stage"]

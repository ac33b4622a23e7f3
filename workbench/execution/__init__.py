"""Runs stages: what a notebook may be given, where its kernel lives, and what is kept of it.

In the order in which a run meets them:

- `project`, `stages`: a use case on disk, and the stage notebooks that apply to it
- `schema`, `secrets`: the parameters of a stage, and what no parameter or record may hold
- `isolation`: the levels none < namespace < container, and the sandbox of one run
- `engine`: `execute`, through Papermill, and the truth about what ran
- `capture`: the executed notebook in its lasting form, and the surroundings of the run
- `gating`, `runner`, `pipeline`: verdicts outside the kernel, one sealed stage, the whole graph

Importing any of these loads no kernel library; that happens when a kernel starts.
"""

"""Runs stages: what a notebook may be given, where its kernel lives, and what is kept of it.

In the order in which a run meets them:

- `project`, `stages`: a use case on disk, and the stage notebooks that apply to it
- `schema`, `secrets`: the parameters of a stage, and what no parameter or record may hold
- `approvals`, `preflight`, `promote`: what persons sign, what a run still lacks, research run again
- `environment`: the place and the reproducibility domain, as declared and as found
- `isolation`, `supervision`, `probes`: the levels none < namespace < container, the sandbox of one
  run, and the bait that shows whether it holds
- `engine`: `execute`, through Papermill, and the truth about what ran
- `capture`: the executed notebook in its lasting form, and the surroundings of the run
- `gating`, `envelope`, `governance`, `zones`: verdicts outside the kernel, and what a record may be
- `kernel_run`, `runner`, `pipeline`: one stage in one folder, sealed, the whole graph
- `facts`, `freezing`, `bundle`: what records say of a candidate, its bundle, and finding one
- `replay`, `replayable`: a record executed again, and packs that hold all it takes

Importing any of these loads no kernel library; that happens when a kernel starts.
"""

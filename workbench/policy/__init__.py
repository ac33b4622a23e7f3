"""The rules: pure functions over plain rows and checked configuration. No I/O, nothing heavy.

documents   a configuration document is read whole or refused by field
usecase     what the model is for (`usecase.yaml`)
criteria    what it must show (`policy.yaml`), frozen before the run
classes     data classes: order, duties, fail closed
regimes/    rules and controls as data, a file a regime
tiers       risk tier and control plan, by numbered rules
statistics  intervals and tests, each with its source
figures     rows -> one figure with interval and n
scorers/    one case -> pass, fail or unscored
scenarios   libraries of hard situations -> what a run's rows are worth
gates       figures against criteria -> passed, failed, insufficient_evidence, not_evaluated
cards/      facts of a candidate -> model card, technical file, briefs of one page
tracks      what a governed run refuses before it starts
assurance   claim, argument, evidence -> red, amber or green
"""

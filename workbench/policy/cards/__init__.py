"""Cards and briefs of a candidate: strings from facts, each fact with its source. No I/O, no clock.

facts       what a card may say: `CardFacts`, `Source`, `Signature`
plain       gates and figures in words
markdown    text that can't break out of its place
model_card  for whoever uses the model; Hugging Face front matter
annex_iv    the technical file of the EU AI Act, answered from records or left unanswered
brief       one printed page for a risk manager, one for an engineer
"""

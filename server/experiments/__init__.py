"""Which arm sees what, and what came of it.

definition   experiments as frozen nouns: arms, targeting, namespaces, time
programme    all experiments of a server, read from YAML (`sheet`, `declared`) before it starts
assigner     who chooses an arm, behind one protocol: `growthbook_assigner`, `openfeature_assigner`
sticky       which arm a shopper was given once, so that new weights move nobody
bandit       an arm by what is known of the shopper (`bandit_context`) and of earlier outcomes
             (`bandit_log`, `bandit_learning`)
pseudonyms   who a shopper is to the log: a keyed hash, never an id
assignment   which arm answers a request, before anything is read
trials       the same for the pipeline, and a token on each image that it answers with
exposures    the token: what a response was, signed, for the shop to hand back
events       what the shop tells of it: rendered, clicked, bought
recording    what is sound of that, and why the rest is not
event_log    where events are kept: acknowledged after commit, exported, forgotten in time
watching     whether the arms have the sizes that they should have
analysis     what happened, with the statistics of it
laboratory   all of it, for the door
"""

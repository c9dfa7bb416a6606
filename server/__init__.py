"""How a request is answered: `python -m server serve`.

doors            gRPC in and out: validation, messages, errors by table, health, drain
idempotency      a repeated request gets the first answer
cancellation     a request ends by its id, also one that has not come yet
pipeline         the way of a request, told once
models           which revision of a model answers, and hot swap: workshop, revision, ledger
experiments      which arm answers
personalization  whether the shopper takes part, and why not
products         packshots cut out, encoded and kept
rows             a request becomes rows; deadlines
sampling         the engine: admission, scheduler, batched steps, shared walks, decoding
nearest          earlier creatives, for deadlines that can't be met otherwise
news             progress and previews on the way
imaging          the product's own pixels on top, and files
commands         the verbs, and building all of this from one configuration
demo             shows it

core, errors, configuration, metrics, logs and stopwatch are what all of them speak.
"""

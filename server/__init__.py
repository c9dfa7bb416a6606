"""How a request is answered: `python -m server serve`.

doors            gRPC in and out: validation, messages, errors by table, health, drain
bulk             a file of requests in, images out, from where the last run stopped
batches          the same as jobs of a server, which outlive it
idempotency      a repeated request gets the first answer
cancellation     a request ends by its id, also one that has not come yet
pipeline         the way of a request, told once
rulebook         what market, brand and shop say of it: localization, brand_kits, safety
models           which revision of a model answers, and hot swap: workshop, revision, ledger
experiments      which arm answers
commission       what a request comes down to, once it is known who asks and for what
image_cache      images that were made before, for everybody of the same taste
studio           where images are made: planned, sampled and verified, again where they are bad
personalization  whether the shopper takes part, and why not
products         packshots cut out, encoded and kept
rows             a request becomes rows; deadlines
sampling         the engine: admission, scheduler, batched steps, shared walks, decoding
nearest          earlier creatives, for deadlines that can't be met otherwise
news             progress and previews on the way
finishing        pictures composed, their texts set, and files made of them, by imaging
provenance       what images say of where they come from: manifests, a watermark; read again
telling          what is told of images beside them, and how they came about
enhancement      what is wrong with a packshot, and how it looks repaired
explanation      which inputs moved an image
commands         the verbs, and building all of this from one configuration
demo             shows it

core, creative, errors, configuration, metrics, logs and stopwatch are what all of them speak.
"""

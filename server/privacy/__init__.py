"""Consent, and being forgotten: docs/privacy.md says what is held where, and what goes when.

proof      what an erasure did, store by store
register   erasures, written down before they begin and gone on with until they are done
eraser     all places that hold something of a shopper, asked to let go of it
keeper     what other servers erased, what is still to be done, and a second look after it
holdings   all that is held of a shopper, for them to read
desk       all of it, for the door
"""

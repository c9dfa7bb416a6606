"""Where one machine ends: the engine in replicas elsewhere, the door here.

placement  who gets a request: pure, so that it can be simulated
orders     what goes to a replica and what comes back, as plain values
replica    an engine in a process of Ray Serve
transport  how a replica is called, so that nothing else here knows Ray
keeping    Ray Serve's router, which asks placement
pool       replicas of the same models: one engine to whoever submits rows
fleet      a pool for each model, or for several
cluster    Ray, started or joined, and what is deployed on it
"""

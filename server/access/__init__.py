"""Who may call, what, and how much of it. Knows neither gRPC nor Prometheus.

scopes        which method needs which right
keys          API keys and their hashes
jwks          public keys of those who issue tokens, read again when they change
tokens        JWTs: whose name a sound one says
tenants       the file of those who may call, validated
quotas        what a tenant may still ask for
calls         the call that is being answered: its tenant, and what it takes of the quotas
reception     puts a caller's credentials, right and quotas to the test
certificates  the server's own certificate, and whose clients' it trusts
watched       files that are read again when they change
exposure      what may be opened to the network
"""

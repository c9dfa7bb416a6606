"""A mixed crowd of requests, before this server and others that serve its checkpoint."""

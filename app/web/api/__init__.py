"""The routers of the API under `/v1`, one module a noun. A domain names its routers in its `Domain`."""

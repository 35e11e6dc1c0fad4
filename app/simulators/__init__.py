"""Stand-ins for the outside world that speak the same HTTP: the demo and the tests run against them."""

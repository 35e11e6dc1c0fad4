"""HTTP simulators of outside systems, for the demo and the tests."""

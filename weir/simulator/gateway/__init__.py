"""How calls get to replicas: the plain gateway of simple policies, and weir's own router."""

"""The roles as simulated processes: their own services and cores, on simulated ports."""

"""NVIDIA Dynamo's planner, global budget and global router, as observed in version 1.6.1.

Rebuilt from the rules it follows, not from its code. Left out: its Kubernetes traffic (requests
refused while a deployment is not Ready, half-applied transfers), metric outages, spare KV space
by prefix reuse, speculative decoding, power limits.
"""

"""Provisioning: from a bare server to one that can join the swarm, by pyinfra."""

"""Figures of the swarm for Prometheus, and messages of Alertmanager to people."""

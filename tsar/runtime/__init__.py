"""Devices, memory budgets, random seeds, and the download cache."""

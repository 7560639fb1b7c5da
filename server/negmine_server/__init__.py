"""The negmine server: hard-negative mining as a service."""

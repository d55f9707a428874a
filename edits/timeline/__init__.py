"""Cuts as editors keep them: clips with notes become rows of a manifest, deliverables are put back in their places."""

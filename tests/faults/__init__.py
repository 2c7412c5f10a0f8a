"""Kills under load: no acknowledged write is lost."""

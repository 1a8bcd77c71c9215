"""Bench files as a page for people: a Markdown table and pictures beside the JSON."""

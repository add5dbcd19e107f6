"""Versions in the formats of other tools: folder, tar, WebDataset, DVC, Hugging Face."""

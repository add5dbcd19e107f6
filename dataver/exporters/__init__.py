"""Versions in the formats of other tools: tar, WebDataset, DVC, Hugging Face."""

from dataver.exporters.exporting import FORMATS, ExportReport, export_version

__all__ = ["FORMATS", "ExportReport", "export_version"]

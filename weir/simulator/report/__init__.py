"""The report of one simulated run: a page of charts in a single file."""

from weir.simulator.report.page import plotly_script, report_html
from weir.simulator.report.recording import Recording

__all__ = ["Recording", "plotly_script", "report_html"]

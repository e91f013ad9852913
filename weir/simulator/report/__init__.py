"""The report of one simulated run: a page of charts in a single file."""

from weir.simulator.report.page import plotly_script, report_html
from weir.simulator.report.recording import Planning, PlanSample, Recording

__all__ = ["PlanSample", "Planning", "Recording", "plotly_script", "report_html"]

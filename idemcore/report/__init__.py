"""Reports of a store: a static folder of HTML, or tables and curves for other programs.

rows -> summary (configurations, curves, intervals) -> site (charts, tables, viewer) | exports (md, csv, compressai)
"""

"""The market report: facts, panels and a page, with its charts as SVG.

Facts are read by SQL that stands in ``snowflake_scripts``; a panel turns facts into charts and
tables, and the page puts the panels together. No SQL stands here, and nothing is computed that
a model already has.
"""

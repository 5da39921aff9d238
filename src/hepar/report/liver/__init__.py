"""The liver report of one case: what was measured, how far it can be trusted, and one page that shows it.

report = liver_report(case)          # assessment: measurements and quality gates of a SummaryInput
write_page(report, path)             # page: one HTML file that needs no network
report_json(report)                  # tables: plain values; lesion_csv for a spreadsheet
"""

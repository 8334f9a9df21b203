"""Reports of one or several runs: Markdown, LaTeX, CSV, figures and one self-contained page.

    comparison  runs against each other, query by query
    candidates  candidate lists for the page's browser
    sections    sections of a report
    page        the page in HTML
    writing     files of a report

The report gives the numbers of every figure in a table and in a file.
"""

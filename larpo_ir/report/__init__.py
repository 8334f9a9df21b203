"""A run, or several, as something to look at: Markdown, LaTeX, CSV, figures and one self-contained page.

    comparison  runs against each other, query by query
    candidates  candidate lists for the page's browser
    sections    what a report consists of
    page        the page
    writing     where it all goes

Every figure has its numbers beside it, as a table in the report and as a file.
"""

"""The one way of a submission: drafted, judged, sent once, waited for, kept up to date."""

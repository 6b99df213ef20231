"""What a run has shown: verified, drawn, and on one page."""

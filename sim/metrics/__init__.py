"""What is kept of a run: histograms, records, summaries, and the files they are written to."""

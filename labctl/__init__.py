"""The application: what an experiment is and how it is run."""

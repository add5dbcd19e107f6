"""The recorder: the run of each read, the local queue of records, and sending."""

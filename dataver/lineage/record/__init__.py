"""The recorder: records of the runs of this process, the local queue, and sending."""

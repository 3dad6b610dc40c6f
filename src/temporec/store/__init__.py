"""What outlives the process: the durable event log and the folders of model versions."""

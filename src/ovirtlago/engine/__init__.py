"""What an engine of oVirt is asked to do."""

"""Disk images and appliances."""

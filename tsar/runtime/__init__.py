"""What the machine gives: devices, memory, seeds, and a folder for downloads."""

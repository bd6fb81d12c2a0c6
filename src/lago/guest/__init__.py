"""How a guest is reached: ssh, files, ports, its console log."""

"""One scenario, on this machine and on other kernels in virtual machines."""

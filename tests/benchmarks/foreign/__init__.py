"""A bed that the checks were not made on: samples that people wrote, and the same with one defect each."""

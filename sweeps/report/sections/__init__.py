"""The parts of a page below its answer: numbers, costs, methods, secondary questions, provenance."""

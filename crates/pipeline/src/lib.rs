//! Pipeline YAML (Harness v0, Drone) to a checked plan of stages and steps

//! Carries out a plan on instances: order, conditions, retries, output, results

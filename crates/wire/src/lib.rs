//! JSON of the runner and agent APIs: requests, answers, log lines, error bodies and typed ids

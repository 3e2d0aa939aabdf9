//! Client of the agent's API over mTLS

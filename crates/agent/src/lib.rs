//! The agent inside the VM: runs steps, supervises them and serves their output over mTLS

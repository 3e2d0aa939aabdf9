//! Certificates, mTLS configurations and peer identity: the one place that names a crypto provider

//! The cloud-init user data that turns a stock cloud image into an instance with an agent.

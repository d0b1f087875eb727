//! The agent's numbers against those of Debian's prometheus-node-exporter, read at the same time.

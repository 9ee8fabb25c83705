//! A DNS-filtering resolver that blocks and records update and telemetry traffic to banned vendors.

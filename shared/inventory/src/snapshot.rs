//! What was collected, typed, and what follows from it. No calls here: a snapshot is checked as it stands.

pub mod ec2;
pub mod exposure;
pub mod flow_logs;
pub mod s3;

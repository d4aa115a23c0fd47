//! What the services and the parts of their controls are called in the state: whoever looks at a control names it so, and
//! finds so what a call takes of it.

/// `GuardDuty`'s.
pub mod guardduty {
    /// Its prefix in ARNs.
    pub const SERVICE: &str = "guardduty";
    /// The detector. A feature is called `feature` and its name, and what is added to it, if anything.
    pub const DETECTOR: &str = "detector";
}

/// Config's.
pub mod config {
    /// Its prefix in ARNs.
    pub const SERVICE: &str = "config";
    /// The recorder.
    pub const RECORDER: &str = "recorder";
    /// The types of resource that it records.
    pub const TYPES: &str = "resource_types";
    /// The delivery channel.
    pub const CHANNEL: &str = "delivery_channel";
}

/// Security Hub's.
pub mod security_hub {
    /// Its prefix in ARNs.
    pub const SERVICE: &str = "securityhub";
    /// The hub.
    pub const HUB: &str = "hub";
    /// What a standard is called before its ARN.
    pub const STANDARD: &str = "standard";
}

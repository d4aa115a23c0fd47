//! The SDK's times and ours.

use aws_smithy_types::DateTime;
use jiff::Timestamp;

/// A service's time; `None` if it is beyond the year 9999.
pub(crate) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// The same instant as the SDK writes it, in whole seconds: what the services take.
pub(crate) fn date_time(time: Timestamp) -> DateTime {
    DateTime::from_secs(time.as_second())
}

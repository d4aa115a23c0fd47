//! What the names of `CloudTrail`'s files say
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SUFFIX: &str = ".json.gz";
const DIGEST: &str = "_CloudTrail-Digest_";
const LOG_FILE: &str = "_CloudTrail_";
/// What the name of a digest ends in that tells of log files which came too late for their own.
const BACKFILL: &str = "_backfill";

/// The name of a digest file: `ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_END[_backfill].json.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestName {
    /// The account whose events the log files hold, 12 digits.
    pub account: String,
    /// The region whose events they hold.
    pub region: String,
    /// The trail's name.
    pub trail: String,
    /// The region in which the trail was created.
    pub home_region: String,
    /// The end of the time that the digest covers.
    pub end: Timestamp,
    /// Whether it is a digest of log files that came too late for their own.
    pub backfill: bool,
}

impl DigestName {
    /// Reads the last part of a key or path.
    pub fn parse(key: &str) -> Option<Self> {
        let name = file_name(key).strip_suffix(SUFFIX)?;
        let (name, backfill) = name.strip_suffix(BACKFILL).map_or((name, false), |name| (name, true));
        let (account, rest) = name.split_once(DIGEST)?;
        // A trail's name may have underscores, a region's has none.
        let (region, rest) = rest.split_once('_')?;
        let (rest, end) = rest.rsplit_once('_')?;
        let (trail, home_region) = rest.rsplit_once('_')?;
        if [account, region, trail, home_region].contains(&"") {
            return None;
        }
        Some(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            trail: trail.to_owned(),
            home_region: home_region.to_owned(),
            end: time("%Y%m%dT%H%M%SZ", end)?,
            backfill,
        })
    }
}

/// The name of a log file: `ACCOUNT_CloudTrail_REGION_TIME_UNIQUE.json.gz`.
pub(crate) struct LogFileName<'n> {
    pub account: &'n str,
    pub region: &'n str,
    /// About when it was delivered, to the minute.
    pub time: Timestamp,
}

impl<'n> LogFileName<'n> {
    pub fn parse(key: &'n str) -> Option<Self> {
        let (account, rest) = file_name(key).strip_suffix(SUFFIX)?.split_once(LOG_FILE)?;
        let mut parts = rest.split('_');
        let (region, stamp, _unique) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { account, region, time: time("%Y%m%dT%H%MZ", stamp)? })
    }
}

/// What stands after the last slash.
pub(crate) fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn time(format: &str, text: &str) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(DateTime::strptime(format, text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_known_by_its_name() {
        let key = "p/AWSLogs/111122223333/CloudTrail-Digest/us-east-2/2026/03/01/\
                   111122223333_CloudTrail-Digest_us-east-2_my_own-trail.1_eu-west-1_20260301T150131Z.json.gz";
        let name = DigestName::parse(key).unwrap();
        assert_eq!((name.account.as_str(), name.region.as_str()), ("111122223333", "us-east-2"));
        assert_eq!((name.trail.as_str(), name.home_region.as_str()), ("my_own-trail.1", "eu-west-1"));
        assert_eq!((name.end.to_string().as_str(), name.backfill), ("2026-03-01T15:01:31Z", false));
        let late = DigestName::parse(&key.replace(".json.gz", "_backfill.json.gz")).unwrap();
        assert_eq!(late, DigestName { backfill: true, ..name });
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "",
            "a.json.gz",
            "1_CloudTrail-Digest_r_t_h_20260301T150131Z.json",
            "1_CloudTrail-Digest_r_t_h_20269901T150131Z.json.gz",
            "1_CloudTrail-Digest_r_h_20260301T150131Z.json.gz",
            "1_CloudTrail-Digest__t_h_20260301T150131Z.json.gz",
            "1_CloudTrail_us-east-2_20260301T1445Z_9nYN7gp2eWAJHIfT.json.gz",
        ] {
            assert_eq!(DigestName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_log_file_is_known_by_its_name() {
        let name = LogFileName::parse("x/1_CloudTrail_us-east-2_20260301T1445Z_9nYN7gp2eWAJHIfT.json.gz").unwrap();
        assert_eq!((name.account, name.region), ("1", "us-east-2"));
        assert_eq!(name.time.to_string(), "2026-03-01T14:45:00Z");
        assert!(LogFileName::parse("1_CloudTrail-Digest_r_t_h_20260301T150131Z.json.gz").is_none());
    }
}

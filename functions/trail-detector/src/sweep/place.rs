//! How far a region's history was read, in the state.

use cloudvigil_aws::lookup::Reading;
use cloudvigil_core::ports::PortResult;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{HISTORY, OVERLAP};
use crate::context::Context;

/// The state's partition of the watermarks; the sort key is the region.
const WATERMARKS: &str = "trail-detector#watermark";
/// The version of what is stored. The first had a time alone, and is read as one.
const SCHEMA: u32 = 2;
/// How long a watermark is kept: longer than the history itself.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);

/// What is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Watermark {
    schema: u32,
    /// Everything before this was read to its end.
    until: Timestamp,
    /// Whether so much happens that the last slice was read question by question.
    #[serde(default)]
    busy: bool,
    /// The slice that is being read.
    #[serde(default)]
    slice: Option<Slice>,
}

/// A slice that is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// When that began: what came later may be missing.
    pub begun: Timestamp,
    /// What of it was read.
    pub reading: Reading,
}

/// Where a region's sweep stands.
#[derive(Debug)]
pub struct Place {
    /// The watermark: everything before this was read to its end.
    pub until: Timestamp,
    /// Where the next slice starts.
    pub from: Timestamp,
    /// The slice that is being read.
    pub slice: Option<Slice>,
    /// Whether so much happens that the last slice was read question by question.
    pub busy: bool,
    /// The version of the state's item.
    version: Option<u64>,
}

impl Place {
    /// Where the last sweep left it. An unreadable one is damage that is told, and the region is swept as if for the first
    /// time, which replaces it.
    pub async fn load(region: &str, context: &Context) -> PortResult<(Self, Option<String>)> {
        let item = context.detector.state.get(WATERMARKS, region).await?;
        let now = context.detector.clock.now();
        let back = |by: SignedDuration| now.saturating_sub(by).unwrap_or(Timestamp::MIN);
        let days = context.lookup_days;
        let first = back(SignedDuration::from_hours(24 * i64::from(days)));
        let mut place = Self { until: first, from: first, slice: None, busy: false, version: None };
        let Some(item) = item else { return Ok((place, None)) };
        place.version = Some(item.version);
        match read(&item.body) {
            Ok(watermark) => {
                place.until = watermark.until;
                place.from = watermark.until.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN).max(back(HISTORY));
                place.busy = watermark.busy;
                place.slice = watermark.slice;
                if let Some(slice) = &mut place.slice {
                    slice.reading.forget_before(back(HISTORY));
                }
                Ok((place, None))
            }
            Err(reason) => {
                let damage =
                    format!("the watermark of {region} is unreadable, so {days} days are read again: {reason}");
                Ok((place, Some(damage)))
            }
        }
    }

    /// Keeps it, with the slice that is being read. `false`: somebody else has kept another, and is to go on.
    pub async fn keep(&mut self, region: &str, slice: Option<&Slice>, context: &Context) -> PortResult<bool> {
        let state = context.detector.state.as_ref();
        let watermark = Watermark { schema: SCHEMA, until: self.until, busy: self.busy, slice: slice.cloned() };
        // Serialising texts and times does not fail; an empty body would read as damage.
        let body = serde_json::to_vec(&watermark).unwrap_or_default();
        let expires = context.detector.clock.now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        if !state.put_if(WATERMARKS, region, body, expires, self.version).await? {
            return Ok(false);
        }
        self.version = state.get(WATERMARKS, region).await?.map(|item| item.version);
        Ok(true)
    }
}

fn read(body: &[u8]) -> Result<Watermark, String> {
    let watermark: Watermark = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match watermark.schema {
        1..=SCHEMA => Ok(watermark),
        other => Err(format!("its schema is {other}; this version reads up to {SCHEMA}")),
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_aws::lookup::Questions;

    use super::*;
    use crate::stage::Stage;

    /// Where a sweep on 31 March 2026 starts that finds this in the state.
    async fn started(watermark: Option<&str>) -> (String, Option<String>) {
        let Stage { context, .. } = Stage::at("2026-03-31T12:00:00Z");
        if let Some(body) = watermark {
            let body = body.as_bytes().to_vec();
            context.detector.state.put(WATERMARKS, "eu-west-1", body, Timestamp::MAX).await.unwrap();
        }
        let (place, damage) = Place::load("eu-west-1", &context).await.unwrap();
        assert_eq!(place.version.is_some(), watermark.is_some());
        assert!(place.slice.is_none());
        (place.from.to_string(), damage)
    }

    #[tokio::test]
    async fn a_region_that_was_not_swept_for_long_is_read_from_its_watermark() {
        assert_eq!(started(None).await, ("2026-03-24T12:00:00Z".to_owned(), None));
        for (until, from) in [
            ("2026-03-31T11:00:00Z", "2026-03-31T10:00:00Z"),
            // Longer ago than the first look back, and still within the history.
            ("2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z"),
            // Older than the history.
            ("2025-01-01T00:00:00Z", "2025-12-31T12:00:00Z"),
            ("-009999-01-02T01:59:59Z", "2025-12-31T12:00:00Z"),
        ] {
            // As the version before wrote it, and as this one does.
            for schema in [1, 2] {
                let watermark = format!(r#"{{"schema":{schema},"until":"{until}"}}"#);
                assert_eq!(started(Some(&watermark)).await, (from.to_owned(), None), "{until}");
            }
        }
    }

    #[tokio::test]
    async fn an_unreadable_watermark_is_told_and_the_region_is_read_as_if_for_the_first_time() {
        for watermark in ["", "{}", r#"{"schema":3,"until":"2026-03-31T11:00:00Z"}"#] {
            let (from, damage) = started(Some(watermark)).await;
            assert_eq!(from, "2026-03-24T12:00:00Z");
            assert!(damage.is_some_and(|damage| damage.contains("eu-west-1")), "{watermark}");
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_what_is_found() {
        let stage = Stage::at("2026-03-31T12:00:00Z");
        let context = &stage.context;
        let (mut place, _) = Place::load("eu-west-1", context).await.unwrap();
        let reading = Reading::new(place.from, stage.now(), &Questions::default());
        let slice = Slice { begun: stage.now(), reading };
        place.busy = true;
        assert!(place.keep("eu-west-1", Some(&slice), context).await.unwrap());
        let (mut found, _) = Place::load("eu-west-1", context).await.unwrap();
        assert_eq!((found.slice.as_ref(), found.busy, found.until), (Some(&slice), true, place.until));
        // Who has read an older one does not overwrite it.
        assert!(found.keep("eu-west-1", None, context).await.unwrap());
        assert!(!place.keep("eu-west-1", Some(&slice), context).await.unwrap());
    }
}

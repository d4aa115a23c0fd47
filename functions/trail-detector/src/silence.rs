//! Log sources that have fallen silent: what the log-analyzer has heard, and the trails' own deliveries.

use cloudvigil_aws::trails::{Trail, TrailStatus};
use cloudvigil_core::silence::{Kind, Source, listen};
use cloudvigil_lambda::Counters;
use jiff::Timestamp;

use crate::context::Context;
use crate::trail_status::analyse;

/// Notes what trails have delivered, and tells which sources are silent. Returns what failed; the rest was done.
pub async fn check(trails: &[Trail], context: &Context, counters: &mut Counters) -> Vec<String> {
    let (state, now) = (context.detector.state.as_ref(), context.detector.clock.now());
    let mut failures = Vec::new();
    for (source, at) in trails.iter().flat_map(deliveries) {
        let heard = context.ears.hear(&source, at, state, now).await;
        failures.extend(heard.err().map(|error| format!("{source}: {error}")));
    }
    let news = match listen(state, context.silence_floor, now).await {
        Ok(news) => news,
        Err(error) => return failures.into_iter().chain([error.to_string()]).collect(),
    };
    counters.count("LogSources", news.sources);
    let lines: Vec<String> = news.lines.iter().map(ToString::to_string).collect();
    match analyse("log sources", &lines, context, counters).await {
        Ok(()) => failures.extend(news.commit(state, now).await.err().map(|error| error.to_string())),
        Err(error) => failures.push(error.to_string()),
    }
    failures
}

/// When a trail delivered last, region by region. One that never did is silent in no way that could be told.
fn deliveries(trail: &Trail) -> Vec<(Source, Timestamp)> {
    let source = |region: &str| Source {
        kind: Kind::Trail,
        resource: trail.arn.clone(),
        account: trail.account.clone(),
        region: Some(region.to_owned()),
    };
    let at = |status: &TrailStatus| status.latest_delivery_time;
    let home = trail.status.as_ref().ok().and_then(at).map(|at| (source(&trail.home_region), at));
    let others =
        trail.elsewhere.iter().filter_map(|(region, status)| Some((source(region), at(status.as_ref().ok()?)?)));
    home.into_iter().chain(others).collect()
}

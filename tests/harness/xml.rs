//! Just enough XML to read the answers of the query protocol: known elements without attributes of interest.

/// The text inside every `<tag>` of `xml`, in order, markup and all. An element inside another of its own name is
/// part of the outer one's text.
pub fn blocks<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        let inside = &rest[start + open.len()..];
        let Some(end) = matching_end(inside, &open, &close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// The unescaped text of the first `<tag>`; empty where there is none.
pub fn text(xml: &str, tag: &str) -> String {
    blocks(xml, tag).first().map(|text| unescape(text)).unwrap_or_default()
}

fn matching_end(inside: &str, open: &str, close: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut at = 0;
    loop {
        let end = at + inside[at..].find(close)?;
        depth += inside[at..end].matches(open).count();
        depth -= 1;
        if depth == 0 {
            return Some(end);
        }
        at = end + close.len();
    }
}

fn unescape(text: &str) -> String {
    // `&amp;` last: what it stands for begins no other entity.
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#x27;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}

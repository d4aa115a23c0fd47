//! How an object is read: cut into frames, which are parsed and handed to a matcher, in their order.

use super::matcher::Matcher;
use crate::formats::{Context, Format, Parser};
use crate::framing::{Frame, FrameSink, Framer};

/// An object that is being read, up to where it has been.
pub(super) struct Reading {
    pub format: &'static dyn Format,
    pub framer: Framer,
    pub parser: Box<dyn Parser>,
}

impl Reading {
    pub(super) fn new(format: &'static dyn Format, context: &Context) -> Self {
        Self { format, framer: Framer::new(format.framing()), parser: format.parser(context) }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], matcher: &mut Matcher<'_>) {
        let Self { format, framer, parser } = self;
        framer.push(bytes, &mut Feed { format: *format, parser: parser.as_mut(), matcher });
    }

    /// The input has ended, `is_cut`: before the object has.
    pub(super) fn finish(self, is_cut: bool, matcher: &mut Matcher<'_>) {
        let Self { format, framer, mut parser } = self;
        framer.finish(&mut |number: u64, frame: Frame<'_>| {
            let frame = if is_cut { Frame::Broken } else { frame };
            matcher.frame(format, parser.as_mut(), number, frame, None);
        });
    }
}

/// Frames, on their way to the matcher.
pub(super) struct Feed<'f, 'c> {
    pub format: &'static dyn Format,
    pub parser: &'f mut dyn Parser,
    pub matcher: &'f mut Matcher<'c>,
}

impl FrameSink for Feed<'_, '_> {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        self.matcher.frame(self.format, self.parser, number, frame, None);
    }

    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        self.matcher.object(self.format, self.parser, number, text, may_be_envelope)
    }
}

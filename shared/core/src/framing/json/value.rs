//! One JSON value, followed byte by byte: where it ends or breaks, and whether it is an envelope.

/// Nesting that no log has: beyond it, the input is taken for broken.
const MAX_DEPTH: usize = 1 << 20;

/// How far a value has been followed.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is looked at by itself, at every byte")]
pub(super) struct Value {
    /// For each open bracket whether it is an object.
    nesting: Vec<bool>,
    in_string: bool,
    escaped: bool,
    /// A number, `true`, `false` or `null`: ends where something else begins.
    pub(super) scalar: bool,
    /// The last byte outside a string that was no white space; `"` for a string.
    previous: u8,
    /// It grew too long: its bytes are no longer kept.
    pub(super) too_long: bool,
    /// Where the last string at the depth of an envelope's keys began and ended.
    key: (usize, usize),
    /// Where the first element of a possible `Events` array began.
    events: Option<usize>,
    /// The envelope's key was read; its array may follow.
    pending: Pending,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Records,
    Events,
}

/// What a byte did to a value.
pub(super) enum Step {
    Goes,
    Ends,
    /// A scalar ended before this byte.
    EndedBefore,
    Breaks,
    /// The envelope's array opens here: its first element begins at this offset.
    Opens {
        element: usize,
    },
}

impl Value {
    /// An object whose array has just ended.
    pub(super) fn envelope() -> Self {
        Self { nesting: vec![true], ..Self::default() }
    }

    /// The buffer's first `by` bytes went away.
    pub(super) fn moved(&mut self, by: usize) {
        self.key = (self.key.0.saturating_sub(by), self.key.1.saturating_sub(by));
        self.events = self.events.map(|at| at.saturating_sub(by));
    }

    /// Follows one byte, at offset `at` of `known`; an empty `known` means that no envelope is looked for.
    pub(super) fn step(&mut self, byte: u8, at: usize, known: &[u8]) -> Step {
        if self.in_string {
            return self.step_in_string(byte, at);
        }
        if self.scalar {
            return match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}' | b'{' | b'[' | b'"' => Step::EndedBefore,
                _ => Step::Goes,
            };
        }
        let object = self.nesting.last().copied();
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Step::Goes,
            b'"' => {
                self.in_string = true;
                if !known.is_empty() && matches!(self.nesting.len(), 1 | 3) {
                    self.key.0 = at + 1;
                }
            }
            b'{' | b'[' => {
                let may_open = match object {
                    None => true,
                    Some(true) => self.previous == b':',
                    Some(false) => matches!(self.previous, b'[' | b','),
                };
                if !may_open || self.nesting.len() >= MAX_DEPTH {
                    return Step::Breaks;
                }
                if self.nesting.len() == 1 && byte == b'[' {
                    match self.pending {
                        Pending::Records => return Step::Opens { element: at + 1 },
                        Pending::Events => self.events = Some(at + 1),
                        Pending::Nothing => self.events = None,
                    }
                }
                self.nesting.push(byte == b'{');
            }
            b'}' | b']' => {
                if object != Some(byte == b'}') {
                    return Step::Breaks;
                }
                self.nesting.pop();
                if self.nesting.is_empty() {
                    return Step::Ends;
                }
                if self.nesting.len() <= 2 {
                    // Only the first element says whether `Events` is an envelope.
                    self.events = None;
                }
            }
            b':' if !known.is_empty() => {
                if let Some(element) = self.key_read(known) {
                    return Step::Opens { element };
                }
            }
            _ if object.is_none() => self.scalar = true,
            _ => {}
        }
        if byte != b':' {
            self.pending = Pending::Nothing;
        }
        self.previous = byte;
        Step::Goes
    }

    fn step_in_string(&mut self, byte: u8, at: usize) -> Step {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                if matches!(self.nesting.len(), 1 | 3) {
                    self.key.1 = at;
                }
                if self.nesting.is_empty() {
                    return Step::Ends;
                }
            }
            // No string holds a raw line end: it was cut off.
            b'\n' => return Step::Breaks,
            _ => {}
        }
        Step::Goes
    }

    /// A key was read at an envelope's depth: where the envelope's elements begin, if this is one.
    fn key_read(&mut self, known: &[u8]) -> Option<usize> {
        let key = known.get(self.key.0..self.key.1).unwrap_or_default();
        match (self.nesting.len(), key) {
            (1, b"Records") => self.pending = Pending::Records,
            (1, b"Events") => self.pending = Pending::Events,
            (3, b"CloudTrailEvent") => return self.events,
            _ => {}
        }
        None
    }
}

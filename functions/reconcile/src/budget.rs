//! How long a search may take.

/// A time by which something is to be finished. A request that is under way then is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    /// Tells the time, milliseconds since 1970.
    clock: &'a dyn Fn() -> i64,
    /// Milliseconds since 1970.
    until: i64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(clock: &'a dyn Fn() -> i64, until: i64) -> Self {
        Self { clock, until }
    }

    /// The same, but no more than so many milliseconds from now on.
    pub(crate) fn at_most(self, millis: i64) -> Self {
        Self {
            until: self.until.min(self.now() + millis),
            ..self
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now() >= self.until
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }
}
